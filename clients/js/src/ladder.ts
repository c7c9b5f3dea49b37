import { backoff } from './backoff.js'
import type { Clock } from './clock.js'
import type { Transport } from './types.js'
import type { Verdict } from './verdict.js'

/** How one attempt to receive is made. */
export interface Plan {
  transport: Transport
  /** Seconds a long poll is held. */
  wait: number
  /** Events of one poll. */
  limit: number
}

/** How an attempt ended. */
export type Ending =
  | { kind: 'page'; empty: boolean; more: boolean; retry?: number } // a poll brought its answer
  | { kind: 'asked'; after: number } // the server wants us back after so many seconds
  | { kind: 'closed' } // end of body, reset, or no connection at all
  | { kind: 'late' } // the deadline passed
  | { kind: 'foreign'; gateway: boolean } // something on the way answered
  | { kind: 'busy'; after: number } // the server cannot now
  | { kind: 'woken' } // we ended it ourselves, to begin anew

const longestWait = 25 // seconds
const fullPage = 100
const shortLife = 10_000 // a stream cut earlier is worth less than long polls

/** Whether two ages mean one clock on the way. */
const same = (a: number, b: number) => b > 0 && Math.abs(a - b) <= Math.max(300, b / 10)

/**
 * Finds the best way to receive that works. It does nothing itself: begin says what
 * to try, the calls below it what happened, and end what follows, after `delay`.
 *
 *     stream --nothing, bursts, silence, refusal--> long poll --same age--> shorter
 *       ^                                              |                   poll, down
 *       +---- from time to time, later and later ------+                   to short
 *
 * A fall to polling stays in doubt until a poll has brought an answer: when that
 * fails, too, the network was at fault and not the stream.
 */
export class Ladder {
  /** When the attempt is given up (clock.now). */
  deadline = Infinity
  /** Milliseconds until the next attempt. */
  delay = 0
  /** Whether events can come: the last attempt worked, or the next may still. */
  up = false

  #clock: Clock
  #save: (v: Verdict | undefined) => void
  #forced: Transport | undefined

  #mode: Transport = 'stream'
  #wait = longestWait
  #limit = fullPage
  #life = Infinity
  #again = 0
  #round = 0
  #doubt = false // the fall to polling is not confirmed
  #hasty = 0 // the patience it was made with, when that ran out

  #failures = 0
  #refused = 0
  #silences = 0
  #cut = 0 // age at which the last stream was cut
  #fail = 0 // age at which the last held poll failed
  #probe = true // the next poll is not held: is there a way at all?
  #rtt = 0

  #plan!: Plan
  #trial = false
  #began = 0
  #answered = false
  #open = false
  #heard = 0 // when the last frame came
  #beat = 0
  #retry = 1000
  #young = 0 // least and greatest age of heartbeats, by two clocks
  #old = 0

  constructor(clock: Clock, known: Verdict | undefined, save: (v: Verdict | undefined) => void, forced?: Transport) {
    this.#clock = clock
    this.#save = save
    this.#forced = forced
    if (!known) return
    this.#mode = known.transport
    this.#wait = known.wait
    this.#again = known.again
    this.#round = known.round
    if (known.life && clock.wall() < known.again) this.#life = known.life
  }

  /** Insists on a transport, or no longer. */
  force(transport: Transport | undefined): void {
    this.#forced = transport
    if (transport !== 'poll') this.#mode = 'stream'
    this.#doubt = false
  }

  /** The next attempt, which begins now. */
  begin(): Plan {
    const now = this.#clock.now()
    this.#began = now
    this.#answered = this.#open = false
    this.#trial = !this.#forced && this.#mode === 'poll' && !this.#doubt && this.#clock.wall() >= this.#again
    const transport = this.#forced ?? (this.#trial ? 'stream' : this.#mode)
    const wait = this.#probe ? 0 : this.#wait
    this.deadline = now + (transport === 'stream' ? this.patience : wait * 1000 + Math.max(2 * this.#rtt, 10_000))
    return (this.#plan = { transport, wait, limit: this.#limit })
  }

  /** Milliseconds a stream has to bring its first frame. */
  get patience(): number {
    return Math.max(2 * this.#rtt, 3000)
  }

  /** Whether the attempt may be dead without our knowing: nothing came when it should have. */
  get stale(): boolean {
    return !this.#open || this.#clock.now() - this.#heard > 1.2 * this.#beat
  }

  /** The headers of a poll have come; what remains is to read it. */
  answered(): void {
    this.#answered = true
    const now = this.#clock.now()
    this.deadline = now + 30_000
    if (!this.#plan.wait) this.#rtt = now - this.#began
  }

  /** A stream has said culvert:hello. Both values are milliseconds. */
  hello(heartbeat: number, retry: number): void {
    this.#open = this.up = this.#probe = true
    this.#beat = heartbeat
    this.#retry = retry
    this.#failures = this.#refused = 0
    this.#young = Infinity
    this.#old = -Infinity
    this.#hear()
    this.#doubt = false
    if (this.#mode === 'poll') this.#wait = longestWait
    this.#mode = 'stream'
  }

  /** A frame came; at is the server's clock where the frame is a heartbeat. */
  frame(at?: number): void {
    this.#silences = 0
    if (at) {
      // Only heartbeats tell: they are sent when they are made, events may be old.
      const age = this.#clock.now() - at
      this.#young = Math.min(this.#young, age)
      this.#old = Math.max(this.#old, age)
    }
    this.#hear()
    if (!at || !this.#round || this.#batched) return
    this.#round = 0 // it works, and not only for its first frame
    this.#remember()
  }

  get #batched(): boolean {
    return this.#old - this.#young > Math.max(this.#beat, 2000)
  }

  #hear(): void {
    const now = (this.#heard = this.#clock.now())
    this.deadline = this.#batched ? now : Math.min(now + 2.5 * this.#beat, this.#began + this.#life)
  }

  /** The machine was asleep, or the network changed: try at once, the stream too where asked. */
  wake(stream: boolean): void {
    this.delay = this.#failures = 0
    this.#probe = true
    if (stream) this.#again = 0
  }

  /** The attempt ended. */
  end(e: Ending): void {
    const age = this.#clock.now() - this.#began
    this.deadline = Infinity
    if (e.kind === 'woken') this.delay = 0
    else if (e.kind === 'asked') this.delay = e.after * 1000
    else if (e.kind === 'busy') this.#fault(e.after * 1000)
    else if (e.kind === 'page') this.#page(e, age)
    else if (this.#plan.transport === 'poll') this.#pollFailed(e, age)
    else if (!this.#open) this.#nothingCame(e.kind === 'late')
    else if (e.kind === 'late') this.#gaveUp(age)
    else this.#streamCut(age)
  }

  /** Nothing gets through at present, whichever way. */
  #fault(least = 0): void {
    this.up = false
    this.#probe = true
    this.delay = Math.max(least * (1 + this.#clock.random() / 4), backoff(this.#clock, this.#failures++))
  }

  #nothingCame(late: boolean): void {
    if (late) this.#fall(this.patience)
    else if (this.#trial || ++this.#refused > 1) this.#fall()
    else this.#fault()
  }

  /** An open stream ran out of time: of its life as planned, or in silence. */
  #gaveUp(age: number): void {
    this.delay = 0
    if (this.#batched || (age < this.#life && ++this.#silences > 1)) this.#fall()
  }

  #streamCut(age: number): void {
    this.delay = this.#clock.random() * this.#retry
    if (same(age, this.#cut)) {
      this.delay = 0
      if (age < shortLife) {
        if (age >= 2000) this.#shorten(age)
        return this.#fall()
      }
      this.#life = age * 0.85
      this.#again = this.#clock.wall() + 3_600_000
      this.#remember()
    }
    this.#cut = age
  }

  /** Down to polling. */
  #fall(hasty = 0): void {
    if (this.#forced) this.#fault()
    else this.delay = 0
    this.#refused = this.#silences = this.#cut = 0
    this.#probe = true
    if (this.#mode === 'poll') {
      // The trial failed, as was to be expected: polling goes on, a little bolder.
      this.#wait = Math.min(longestWait, this.#wait * 2 || 1)
      return this.#postpone()
    }
    this.#mode = 'poll'
    this.#doubt = true
    this.#hasty = hasty
  }

  /** The stream is tried again later: a minute, two, four, up to an hour. */
  #postpone(): void {
    this.#again = this.#clock.wall() + Math.min(60_000 * 2 ** this.#round++, 3_600_000)
    this.#remember()
  }

  #page(e: Ending & { kind: 'page' }, age: number): void {
    const { wait } = this.#plan
    this.up = true
    this.#failures = 0
    this.#limit = Math.min(fullPage, this.#limit * 2)
    if (e.empty && wait && age >= wait * 900) this.#fail = 0
    if (this.#doubt && !this.#forced) {
      this.#doubt = false
      if (this.#hasty && this.#hasty < this.patience) {
        // The way is only slow, and the stream was not given the time it takes.
        this.#mode = 'stream'
        this.delay = 0
        return
      }
      this.#postpone()
    }
    const probe = this.#probe
    this.#probe = false
    if (e.retry) this.delay = e.retry * 1000
    else if (e.more || (probe && this.#wait)) this.delay = 0
    else if (!wait) this.delay = 1000 + this.#clock.random() * 2000
    // A held poll that is empty at once was not held: never ask in a circle.
    else this.delay = e.empty && age < wait * 500 ? 500 + this.#clock.random() * 1000 : 0
  }

  #pollFailed(e: Ending, age: number): void {
    const gateway = e.kind === 'foreign' && e.gateway
    if (this.#answered) this.#limit = Math.max(1, this.#limit >> 1)
    if (this.#plan.wait && age >= 1000) {
      const constant = gateway || same(age, this.#fail)
      this.#probe = true
      this.delay = constant ? 0 : this.#clock.random() * 500
      if (constant) this.#shorten(age)
      this.#fail = constant ? 0 : age
      if (constant && !this.#doubt) this.#remember()
      return
    }
    if (this.#doubt) {
      this.#mode = 'stream'
      this.#doubt = false
    }
    this.#fault()
  }

  /** Polls stay below an age at which something on the way cuts. */
  #shorten(age: number): void {
    const wait = Math.min(this.#wait / 2, age * 0.0007)
    this.#wait = wait < 1 ? 0 : Math.floor(wait * 10) / 10
  }

  #remember(): void {
    const { transport, life } = { transport: this.#mode, life: this.#life === Infinity ? null : this.#life }
    const plain = transport === 'stream' && life === null
    this.#save(plain ? undefined : {
      transport, life, wait: this.#wait, again: this.#again, round: this.#round,
    })
  }
}
