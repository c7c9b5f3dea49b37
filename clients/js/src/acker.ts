import type { Clock } from './clock.js'
import { temporary } from './problem.js'

/**
 * Acknowledges what handlers have finished, in order: a cursor is acknowledged when
 * everything up to it was handled. Many become one request, and the next attempt to
 * receive carries it when it can.
 */
export interface Acker {
  /** Whether all that came is handled, so that going on from there acknowledges it. */
  idle(): boolean
  /** Takes note of a position; work is what its handlers still do. counts: it holds events. */
  track(cursor: string, work?: Promise<unknown>, counts?: boolean): void
  /** The server has acknowledged this cursor on another way. */
  confirm(cursor: string): void
  /** Acknowledges now, at the end of a page or program. */
  flush(leaving?: boolean): Promise<void>
  /** Forgets everything, without a word to the server. */
  stop(): void
}

export function createAcker(clock: Clock, post: (cursor: string, leaving: boolean) => Promise<unknown>): Acker {
  let parts: { cursor: string; done: boolean; counts: boolean }[] = [] // came and wait to be handled
  let handled: string | undefined // not acknowledged yet
  let timer: (() => void) | undefined
  let failures = 0
  let stopped = false

  const disarm = () => {
    timer?.()
    timer = undefined
  }

  const arm = () => {
    const wait = Math.min(1000 * 2 ** failures, 30_000)
    if (handled && !stopped) timer ??= clock.after(wait, () => void flush())
  }

  const flush = async (leaving = false) => {
    disarm()
    const cursor = handled
    if (!cursor) return
    handled = undefined
    try {
      await post(cursor, leaving)
      failures = 0
    } catch (error) {
      if (stopped || !temporary(error)) return // of another log, for example
      failures++
      handled ??= cursor
      arm()
    }
  }

  return {
    idle: () => !parts[0],
    track(cursor, work, counts = true) {
      const part = { cursor, done: !work, counts }
      parts.push(part)
      const done = () => {
        part.done = true
        let due = false
        while (parts[0]?.done) {
          const { cursor, counts } = parts.shift()!
          due ||= counts
          if (due || handled) handled = cursor
        }
        if (due) arm()
      }
      if (work) work.then(done, done)
      else done()
    },
    confirm(cursor) {
      if (handled === cursor) handled = undefined
    },
    flush,
    stop() {
      disarm()
      parts = []
      stopped = true
    },
  }
}
