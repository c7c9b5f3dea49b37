/**
 * Tells a stream that something batches from one that flows. Only heartbeats show it:
 * they are sent when they are made, while events may be old. The ages are by two clocks
 * that need not agree, so only their difference means something.
 */
export class Bursts {
  #beat: number
  #young = Infinity
  #old = -Infinity

  /** beat is how often heartbeats are sent, in milliseconds. */
  constructor(beat: number) {
    this.#beat = beat
  }

  /** A heartbeat came that is so many milliseconds old. */
  heartbeat(age: number): void {
    this.#young = Math.min(this.#young, age)
    this.#old = Math.max(this.#old, age)
  }

  /** Whether one was held back by more than a heartbeat longer than another. */
  get found(): boolean {
    return this.#old - this.#young > Math.max(this.#beat, 2000)
  }
}
