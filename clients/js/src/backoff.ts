import type { Clock } from './clock.js'
import { asked, temporary } from './problem.js'

/**
 * The wait after a number of failures: a random time below a bound that doubles, so that
 * the clients of one server do not all return at once (full jitter).
 */
export function backoff(clock: Clock, failures: number): number {
  return clock.random() * Math.min(30_000, 500 * 2 ** failures)
}

/**
 * Milliseconds to wait for an answer, including the time to send `size` characters. They are
 * few at first, because the connection may be silently dead, and more after failures,
 * because it may only be slow.
 */
export const patience = (failures: number, size = 0): number => Math.min(4000 * 2 ** failures + size / 10, 60_000)

/** A wait that wake or the signal ends early. It is never rejected. */
export interface Nap extends Promise<void> { wake(): void }

export function nap(clock: Clock, ms: number, signal?: AbortSignal): Nap {
  let wake!: () => void
  const over = new Promise<void>((resolve) => (wake = () => resolve()))
  const cancel = clock.after(ms, wake)
  signal?.addEventListener('abort', wake)
  if (signal?.aborted) wake()
  void over.then(() => {
    cancel()
    signal?.removeEventListener('abort', wake)
  })
  return Object.assign(over, { wake })
}

/** Repeats what fails, after waits that hurry ends. */
export interface Retries {
  /** Repeats f until it succeeds or is refused, or until `until` (clock.now). */
  persist<T>(f: (failures: number) => Promise<T>, until?: number): Promise<T>
  /** Ends the waits: there is a network again. */
  hurry(): void
}

export function createRetries(clock: Clock, signal: AbortSignal): Retries {
  const rests = new Set<Nap>()
  return {
    async persist(f, until = Infinity) {
      for (let failures = 0; ; failures++) {
        try {
          return await f(failures)
        } catch (error) {
          const wait = Math.max(backoff(clock, failures), asked(error))
          if (!temporary(error) || clock.now() + wait > until) throw error
          const rest = nap(clock, wait, signal)
          rests.add(rest)
          await rest
          rests.delete(rest)
          if (signal.aborted) throw error
        }
      }
    },
    hurry() {
      for (const rest of rests) rest.wake()
    },
  }
}
