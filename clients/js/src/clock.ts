/** Time and random numbers, passed in so that tests control both. */
export interface Clock {
  /** Milliseconds that only go forward, from an unknown beginning. */
  now(): number
  /** Milliseconds since 1970. */
  wall(): number
  /** A number from 0 up to, but not including, 1. */
  random(): number
  /** Calls f after so many milliseconds, unless the returned function is called before. */
  after(ms: number, f: () => void): () => void
}

export const systemClock: Clock = {
  now: () => performance.now(),
  wall: Date.now,
  random: Math.random,
  after(ms, f) {
    // A browser runs longer timers at once, because the number overflows.
    const timer = setTimeout(f, Math.min(ms, 0x7fffffff))
    return () => clearTimeout(timer)
  },
}
