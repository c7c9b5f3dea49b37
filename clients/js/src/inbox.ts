import { value } from './binary.js'
import type { Delivery, Gap } from './types.js'

/** An event as it is on the wire. */
export interface WireEvent {
  offset?: number
  room: string
  event: string
  data?: unknown
  binary?: string
  from: string | null
  at: string
  reply?: { until: string }
}

/**
 * The position of a client, and the memory that makes of "at least once" no more
 * than once: whatever way an event comes again, its offset was seen.
 */
export interface Inbox {
  /** Go on after this cursor; undefined: where the server says. */
  position: string | undefined
  /** The offset of the last event; -1: none came. */
  last: number
  /** The log the server has; another one counts its offsets anew. */
  log(log: string): void
  /** Whether the gap is news; its end is where to go on. */
  gap(gap: Gap): boolean
  /** Whether the event came before. */
  seen(e: WireEvent): boolean
  /** The event, unless it came before. */
  take(e: WireEvent, cursor?: string): Delivery | undefined
}

export function createInbox(): Inbox {
  let known: string | undefined // log
  let hole: string | undefined
  const seen = ({ offset = Infinity }: WireEvent) => offset <= inbox.last
  const inbox: Inbox = {
    position: undefined,
    last: -1,
    log(log) {
      if (known && known !== log) inbox.last = -1
      known = log
    },
    gap({ reason, to }) {
      if (reason !== 'pruned') inbox.last = -1 // it may lead back
      inbox.position = to
      return hole !== (hole = to)
    },
    seen,
    take(e, cursor) {
      if (seen(e)) return
      if (e.offset! >= 0) {
        inbox.last = e.offset!
        if (cursor) inbox.position = cursor
      }
      e.data = value(e)
      delete e.binary
      return e as Delivery
    },
  }
  return inbox
}
