import type { Clock } from './clock.js'
import { temporary } from './problem.js'

/** What was received and waits to be handled. */
interface Part { cursor: string; done: boolean; counts: boolean }

/**
 * Acknowledges what handlers have finished, in order: a cursor is acknowledged when
 * everything up to it was handled. Many become one request, and the next attempt to
 * receive carries it when it can.
 */
export class Acker {
  #parts: Part[] = []
  #handled: string | undefined // not acknowledged yet
  #timer: (() => void) | undefined
  #failures = 0
  #stopped = false
  #clock: Clock
  #post: (cursor: string, leaving: boolean) => Promise<unknown>

  constructor(clock: Clock, post: (cursor: string, leaving: boolean) => Promise<unknown>) {
    this.#clock = clock
    this.#post = post
  }

  /** Whether all that came is handled, so that going on from there acknowledges it. */
  get idle(): boolean {
    return this.#parts.length === 0
  }

  /** Takes note of a position; work is what its handlers still do. counts: it holds events. */
  track(cursor: string, work?: Promise<unknown>, counts = true): void {
    const part = { cursor, done: !work, counts }
    this.#parts.push(part)
    const done = () => {
      part.done = true
      this.#move()
    }
    if (work) work.then(done, done)
    else this.#move()
  }

  /** The server has acknowledged this cursor on another way. */
  confirm(cursor: string): void {
    if (this.#handled === cursor) this.#handled = undefined
  }

  /** Acknowledges now, at the end of a page or program. */
  async flush(leaving = false): Promise<void> {
    this.#timer?.()
    this.#timer = undefined
    const cursor = this.#handled
    if (!cursor) return
    this.#handled = undefined
    try {
      await this.#post(cursor, leaving)
      this.#failures = 0
    } catch (error) {
      if (this.#stopped || !temporary(error)) return // of another log, for example
      this.#failures++
      this.#handled ??= cursor
      this.#plan()
    }
  }

  /** Forgets everything, without a word to the server. */
  stop(): void {
    this.#timer?.()
    this.#timer = undefined
    this.#parts = []
    this.#stopped = true
  }

  #move(): void {
    let counts = false
    while (this.#parts[0]?.done) {
      const part = this.#parts.shift()!
      counts ||= part.counts
      if (counts || this.#handled) this.#handled = part.cursor
    }
    if (counts) this.#plan()
  }

  #plan(): void {
    const wait = Math.min(1000 * 2 ** this.#failures, 30_000)
    if (this.#handled && !this.#stopped) this.#timer ??= this.#clock.after(wait, () => void this.flush())
  }
}
