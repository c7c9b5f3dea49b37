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
 * The position of a client. It turns "at least once" into "once": an event that comes
 * again, by whatever transport, has an offset that was seen.
 */
export interface Inbox {
  /** Continue after this cursor; undefined: where the server says. */
  position: string | undefined
  /** The offset of the last event; -1: there was none. */
  last: number
  /** Notes which log the server has; offsets of another log begin anew. */
  log(log: string): void
  /** Returns whether the gap is new, and moves the position to its end. */
  gap(gap: Gap): boolean
  /** Whether the event was received before. */
  seen(e: WireEvent): boolean
  /** Returns the event, unless it was received before. */
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
      if (reason !== 'pruned') inbox.last = -1 // the gap may lead back to lower offsets
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
