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
export class Inbox {
  /** Go on after this cursor; undefined: where the server says. */
  position: string | undefined
  #last = -1
  #log: string | undefined
  #gap = ''

  /** The log the server has; another one counts its offsets anew. */
  log(log: string): void {
    if (this.#log !== undefined && this.#log !== log) this.#last = -1
    this.#log = log
  }

  /** Whether the gap is news; its end is where to go on. */
  gap(gap: Gap): boolean {
    if (gap.reason === 'log') this.#last = -1
    this.position = gap.to
    const news = this.#gap !== gap.to
    this.#gap = gap.to
    return news
  }

  /** Whether the event came before. */
  seen(e: WireEvent): boolean {
    return e.offset !== undefined && e.offset <= this.#last
  }

  /** The event, unless it came before. */
  take(e: WireEvent, cursor?: string): Delivery | undefined {
    if (this.seen(e)) return
    if (e.offset !== undefined) {
      this.#last = e.offset
      if (cursor) this.position = cursor
    }
    const { binary: _, ...rest } = e
    return { ...rest, data: value(e) }
  }
}
