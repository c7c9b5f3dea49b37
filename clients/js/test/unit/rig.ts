// A ladder on a fake clock.
import assert from 'node:assert/strict'
import { Kind, type Ending, type Ladder, type Plan } from '../../src/attempt.js'
import { createLadder } from '../../src/ladder.js'
import type { Transport } from '../../src/types.js'
import type { Verdict } from '../../src/verdict.js'
import { FakeClock } from './fakes.js'

export const beat = 15_000

/** A ladder, its clock, and methods for the outcomes of attempts. */
export class Rig {
  clock = new FakeClock()
  saved: Verdict | undefined
  ladder: Ladder
  plan!: Plan

  constructor(known?: Verdict, forced?: Transport) {
    this.ladder = createLadder(this.clock, known, (v) => (this.saved = v), forced)
  }

  begin(): Plan {
    this.clock.go(this.ladder.delay)
    return (this.plan = this.ladder.begin())
  }

  /** Waits until the ladder gives the attempt up. */
  late(): void {
    assert.ok(this.ladder.deadline < Infinity)
    this.clock.go(this.ladder.deadline - this.clock.now())
    this.ladder.end({ kind: Kind.TimedOut })
  }

  end(ms: number, e: Ending = { kind: Kind.Closed }): void {
    this.clock.go(ms)
    this.ladder.end(e)
  }

  hello(rtt = 50): void {
    this.clock.go(rtt)
    this.ladder.hello(beat, 2000)
  }

  /** The hello of a server that ends the first pauses after a second. */
  settling(rtt = 50): void {
    this.clock.go(rtt)
    this.ladder.hello(beat, 2000, 1000, this.clock.wall() - 10)
  }

  /** A heartbeat of the given age. */
  heartbeat(age = 10): void {
    this.ladder.frame(this.clock.wall() - age)
  }

  page(ms = 50, more: Partial<Ending> = {}): void {
    this.clock.go(ms)
    this.ladder.gotHeaders()
    this.ladder.end({ kind: Kind.Page, empty: true, more: false, ...more })
  }

  /** Makes the ladder go to polling, as behind a buffering proxy. */
  buffered(): this {
    this.begin()
    this.late()
    this.begin()
    this.page()
    return this
  }
}

/** Returns a rig that insists on polls and is polling. */
export function polling(): Rig {
  const r = new Rig({ transport: 'poll', wait: 25, life: null, retryStreamAt: 1_800_000_000_000, round: 9 })
  r.begin()
  r.page()
  return r
}

export const is = (r: Rig, transport: Transport, wait?: number) => {
  const p = r.begin()
  assert.equal(p.transport, transport)
  if (wait !== undefined) assert.equal(p.wait, wait)
}
