import type { Clock } from './clock.js'
import { CulvertError, temporary } from './problem.js'

/**
 * The wait after so many failures: anywhere below a bound that doubles, so that
 * many clients of one server do not return as one (full jitter).
 */
export function backoff(clock: Clock, failures: number): number {
  return clock.random() * Math.min(30_000, 500 * 2 ** Math.min(failures, 10))
}

/** Resolves after so many milliseconds, or rejects as soon as the signal aborts. */
export function pause(clock: Clock, ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason)
    const stop = () => {
      cancel()
      reject(signal!.reason)
    }
    const cancel = clock.after(ms, () => {
      signal?.removeEventListener('abort', stop)
      resolve()
    })
    signal?.addEventListener('abort', stop, { once: true })
  })
}

/** Repeats f until it succeeds, is refused, or is no longer worth it: at `until` (clock.now). */
export async function persist<T>(
  clock: Clock, signal: AbortSignal, f: () => Promise<T>, until = Infinity,
): Promise<T> {
  for (let failures = 0; ; failures++) {
    try {
      return await f()
    } catch (error) {
      if (signal.aborted || !temporary(error)) throw error
      const after = error instanceof CulvertError ? error.retryAfter * 1000 : 0
      const wait = Math.max(backoff(clock, failures), after)
      if (clock.now() + wait > until) throw error
      await pause(clock, wait, signal)
    }
  }
}
