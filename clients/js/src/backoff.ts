import type { Clock } from './clock.js'
import { asked, temporary } from './problem.js'

/**
 * The wait after so many failures: anywhere below a bound that doubles, so that
 * many clients of one server do not return as one (full jitter).
 */
export function backoff(clock: Clock, failures: number): number {
  return clock.random() * Math.min(30_000, 500 * 2 ** failures)
}

/**
 * Milliseconds to wait for an answer, the time to send so many characters included:
 * little at first, for the connection may be dead without a word, and more after failures,
 * for it may only be slow.
 */
export const patience = (failures: number, size = 0): number => Math.min(4000 * 2 ** failures + size / 10, 60_000)

/** A wait that can be cut short, by wake or by the signal. It is never rejected. */
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

/** Repeats what fails, after waits that can all be cut short. */
export interface Retries {
  /** Repeats f until it succeeds, is refused, or is no longer worth it: at `until` (clock.now). */
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
