import type { Clock } from '../../src/clock.js'

/** A clock that stands still until a test advances it. */
export class FakeClock implements Clock {
  chance = 0.5
  #now = 1000
  #timers: { at: number; f: () => void }[] = []

  now = () => this.#now
  wall = () => 1_700_000_000_000 + this.#now
  random = () => this.chance

  after(ms: number, f: () => void): () => void {
    const timer = { at: this.#now + ms, f }
    this.#timers.push(timer)
    return () => {
      this.#timers = this.#timers.filter((t) => t !== timer)
    }
  }

  /** How many timers wait. */
  get pending(): number {
    return this.#timers.length
  }

  /** Time passes; timers run when they are due. */
  go(ms: number): void {
    const end = this.#now + ms
    for (;;) {
      const next = this.#timers.filter((t) => t.at <= end).sort((a, b) => a.at - b.at)[0]
      if (!next) break
      this.#timers = this.#timers.filter((t) => t !== next)
      this.#now = Math.max(this.#now, next.at)
      next.f()
    }
    this.#now = end
  }

  /** The same, letting promises settle in between. */
  async run(ms: number, step = ms): Promise<void> {
    for (let left = ms; left > 0; left -= step) {
      await settle()
      this.go(Math.min(step, left))
    }
    await settle()
  }
}

/** Waits until all settled promises have run their callbacks; the clock does not move. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 5; i++) await new Promise((r) => setImmediate(r))
}
