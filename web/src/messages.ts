import type { Stored } from './server.js'

/** A message of a room: first as typed, then as stored in the log. */
export interface Message {
  /** Set by its sender; it matches the stored message with the one that waited. */
  id: string
  text: string
  from: string
  /** When it was stored, or typed. */
  at: string
  /** Position in the log; undefined while it waits in the outbox. */
  offset?: number
  /** Why the server refused it. */
  refused?: string
  /** Of an own message: how many have received it. */
  got?: number
}

const most = 300

/** The messages of one room in the order of the log, with waiting messages at the end. */
export class Messages {
  #stored = new Map<number, Message>()
  #waiting = new Map<string, Message>()

  constructor(private me: string) {}

  /** Adds a message of the log; returns false if it is known already, or not a chat message: anybody may write there. */
  take({ offset, data, from, at }: Stored): boolean {
    if (this.#stored.has(offset) || typeof data?.id !== 'string' || typeof data.text !== 'string') return false
    if (from === this.me) this.#waiting.delete(data.id)
    const id = this.#known(data.id) || from !== this.me ? `${offset}` : data.id
    this.#stored.set(offset, { id, text: data.text, from: from ?? '', at, offset })
    return true
  }

  /** Adds a message that is to be sent. */
  wait(m: Message): void {
    if (!this.#known(m.id)) this.#waiting.set(m.id, m)
  }

  refuse(id: string, why: string): void {
    const m = this.#waiting.get(id)
    if (m) m.refused = why
  }

  /** Notes how many clients every own message up to an offset has reached. */
  reached(upTo: number, got: number): void {
    for (const m of this.#stored.values()) {
      if (m.from === this.me && m.offset! <= upTo) m.got = Math.max(m.got ?? 0, got)
    }
  }

  /** The offset of the newest own message that is stored; 0: there is none. */
  newest(): number {
    return Math.max(0, ...[...this.#stored.values()].filter((m) => m.from === this.me).map((m) => m.offset!))
  }

  all(): Message[] {
    const stored = [...this.#stored.values()].sort((a, b) => a.offset! - b.offset!).slice(-most)
    return [...stored, ...this.#waiting.values()]
  }

  #known(id: string): boolean {
    return [...this.#stored.values()].some((m) => m.id === id)
  }
}
