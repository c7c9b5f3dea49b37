/**
 * Tells a stream that something batches from one that flows. Only heartbeats show it:
 * they are sent when they are made, while events may be old. Their ages are by two
 * clocks that need not agree, so only the difference means something.
 */
export interface Bursts {
  /** A heartbeat came that is so many milliseconds old. */
  heartbeat(age: number): void
  /** Whether one was held back by more than a heartbeat longer than another. */
  found(): boolean
}

/** beat is how often heartbeats are sent, in milliseconds. */
export function createBursts(beat: number): Bursts {
  let young = Infinity
  let old = -young
  return {
    heartbeat(age) {
      young = Math.min(young, age)
      old = Math.max(old, age)
    },
    found: () => old - young > Math.max(beat, 2000),
  }
}
