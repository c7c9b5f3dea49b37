import type { Clock } from './clock.js'
import { temporary } from './problem.js'

/**
 * Acknowledges what handlers have finished, in order: a cursor is acknowledged when
 * everything up to it was handled. Many acknowledgements become one request, or the next
 * attempt to receive carries them if it can.
 */
export interface Acker {
  /** Whether everything received is handled, so that the next request can acknowledge it by its position. */
  idle(): boolean
  /** Notes a position; work is settled when its handlers have finished. quiet: no event came with it. */
  track(cursor: string, work?: Promise<unknown>, quiet?: boolean): void
  /** The server has acknowledged this cursor by another request. */
  confirm(cursor: string): void
  /** Acknowledges now, at the end of a page or program. */
  flush(): Promise<void>
  /** After this only flush sends an acknowledgement, once. */
  stop(): void
}

/** pace says how many milliseconds an acknowledgement waits for others, or for a poll. */
export function createAcker(
  clock: Clock, pace: () => number, post: (cursor: string) => Promise<unknown>,
): Acker {
  let pending = 0 // received and not handled yet
  let tail: Promise<unknown> | undefined // settled when the last of their handlers has finished
  let handled: string | undefined // not acknowledged yet
  let timer: (() => void) | undefined
  let failures = 0
  let stopped = false

  const disarm = () => {
    timer?.()
    timer = undefined
  }

  const arm = () => {
    const wait = Math.min(pace() * 2 ** failures, 30_000)
    if (handled && !stopped) timer ??= clock.after(wait, flush)
  }

  const flush = async () => {
    disarm()
    const cursor = handled
    if (!cursor) return
    handled = undefined
    try {
      await post(cursor)
      failures = 0
    } catch (error) {
      if (stopped || !temporary(error)) return // such as a cursor of another log
      failures++
      handled ??= cursor
      arm()
    }
  }

  return {
    idle: () => !pending,
    track(cursor, work, quiet) {
      const done = () => {
        if (!quiet || handled) handled = cursor
        if (!quiet) arm()
      }
      if (!work && !pending) return done()
      pending++
      tail = Promise.allSettled([tail, work]).then(() => {
        pending--
        done()
      })
    },
    confirm(cursor) {
      if (handled !== cursor) return
      handled = undefined
      disarm()
    },
    flush,
    stop() {
      disarm()
      stopped = true
    },
  }
}
