import type { Ending, Plan } from './attempt.js'
import { backoff } from './backoff.js'
import { Bursts } from './bursts.js'
import type { Clock } from './clock.js'
import { Hold, same } from './hold.js'
import type { Transport } from './types.js'
import type { Verdict } from './verdict.js'

const shortLife = 10_000 // a stream cut earlier is worth less than long polls

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

  #mode: Transport = 'stream'
  #hold = new Hold()
  #life = Infinity
  #again = 0
  #round = 0
  #doubt = false // the fall to polling is not confirmed
  #hasty = 0 // the patience it was made with, when that ran out
  #failures = 0
  #refused = 0
  #silences = 0
  #cut = 0 // age at which the last stream was cut
  #probe = true // the next poll is not held: is there a way at all?
  #rtt = 0
  #plan!: Plan
  #trial = false // of the stream, while polls work
  #began = 0
  #answered = false
  #open = false
  #heard = 0 // when the last frame came
  #beat = 0
  #retry = 1000
  #bursts = new Bursts(0)

  constructor(
    private clock: Clock, known: Verdict | undefined,
    private save: (v: Verdict | undefined) => void, private forced?: Transport,
  ) {
    if (!known) return
    this.#mode = known.transport
    this.#hold.wait = known.wait
    this.#again = known.again
    this.#round = known.round
    if (known.life && clock.wall() < known.again) this.#life = known.life
  }

  /** Insists on a transport, or no longer. */
  force(transport: Transport | undefined): void {
    this.forced = transport
    if (transport !== 'poll') this.#mode = 'stream'
    this.#doubt = false
  }

  /** The next attempt, which begins now. */
  begin(): Plan {
    const now = this.clock.now()
    this.#began = now
    this.#answered = this.#open = false
    this.#trial = !this.forced && this.#mode === 'poll' && !this.#doubt && this.clock.wall() >= this.#again
    const transport = this.forced ?? (this.#trial ? 'stream' : this.#mode)
    const wait = this.#probe ? 0 : this.#hold.wait
    this.deadline = now + (transport === 'stream' ? this.patience : wait * 1000 + Math.max(2 * this.#rtt, 10_000))
    return (this.#plan = { transport, wait, limit: this.#hold.limit })
  }

  /** Milliseconds a stream has to bring its first frame. */
  get patience(): number { return Math.max(2 * this.#rtt, 3000) }

  /** Whether the attempt may be dead without our knowing: nothing came when it should have. */
  get stale(): boolean {
    return !this.#open || this.clock.now() - this.#heard > 1.2 * this.#beat
  }

  /** The headers of a poll have come; what remains is to read it. */
  answered(): void {
    this.#answered = true
    const now = this.clock.now()
    this.deadline = now + 30_000
    if (!this.#plan.wait) this.#rtt = now - this.#began
  }

  /** A stream has said culvert:hello. Both values are milliseconds. */
  hello(heartbeat: number, retry: number): void {
    this.#open = this.up = this.#probe = true
    this.#beat = heartbeat
    this.#retry = retry
    this.#failures = this.#refused = 0
    this.#doubt = false
    this.#bursts = new Bursts(heartbeat)
    this.#hear()
    if (this.#mode === 'poll') this.#hold = new Hold()
    this.#mode = 'stream'
  }

  /** A frame came; at is the server's clock where the frame is a heartbeat. */
  frame(at?: number): void {
    this.#silences = 0
    if (at) this.#bursts.heartbeat(this.clock.now() - at)
    this.#hear()
    if (!at || !this.#round || this.#bursts.found) return
    this.#round = 0 // it works, and not only for its first frame
    this.#remember()
  }

  #hear(): void {
    const now = (this.#heard = this.clock.now())
    this.deadline = this.#bursts.found ? now : Math.min(now + 2.5 * this.#beat, this.#began + this.#life)
  }

  /** The machine was asleep, or the network changed: try at once, the stream too where asked. */
  wake(stream: boolean): void {
    this.delay = this.#failures = 0
    this.#probe = true
    if (stream) this.#again = 0
  }

  /** The attempt ended. */
  end(e: Ending): void {
    const age = this.clock.now() - this.#began
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
    this.delay = Math.max(least * (1 + this.clock.random() / 4), backoff(this.clock, this.#failures++))
  }

  #nothingCame(late: boolean): void {
    if (late) this.#fall(this.patience)
    else if (this.#trial || ++this.#refused > 1) this.#fall()
    else this.#fault()
  }

  /** An open stream ran out of time: of its life as planned, or in silence. */
  #gaveUp(age: number): void {
    this.delay = 0
    if (this.#bursts.found || (age < this.#life && ++this.#silences > 1)) this.#fall()
  }

  #streamCut(age: number): void {
    this.delay = this.clock.random() * this.#retry
    if (same(age, this.#cut)) {
      this.delay = 0
      if (age < shortLife) {
        if (age >= 2000) this.#hold.shorten(age)
        return this.#fall()
      }
      this.#life = age * 0.85
      this.#again = this.clock.wall() + 3_600_000
      this.#remember()
    }
    this.#cut = age
  }

  /** Down to polling. */
  #fall(hasty = 0): void {
    if (this.forced) this.#fault()
    else this.delay = 0
    this.#probe = true
    this.#refused = this.#silences = this.#cut = 0
    if (this.#mode === 'poll') {
      // The trial failed, as was to be expected: polling goes on, a little bolder.
      this.#hold.lengthen()
      return this.#postpone()
    }
    this.#mode = 'poll'
    this.#doubt = true
    this.#hasty = hasty
  }

  /** The stream is tried again later: a minute, two, four, up to an hour. */
  #postpone(): void {
    this.#again = this.clock.wall() + Math.min(60_000 * 2 ** this.#round++, 3_600_000)
    this.#remember()
  }

  #page(e: Ending & { kind: 'page' }, age: number): void {
    const { wait } = this.#plan
    this.up = true
    this.#failures = 0
    this.#hold.page(e.empty && wait > 0 && age >= wait * 900)
    if (this.#doubt && !this.forced) {
      this.#doubt = false
      if (this.#hasty && this.#hasty < this.patience) {
        // The way is only slow, and the stream was not given the time it takes.
        this.#mode = 'stream'
        return void (this.delay = 0)
      }
      this.#postpone()
    }
    if (e.retry) this.delay = e.retry * 1000
    else if (e.more || (this.#probe && this.#hold.wait)) this.delay = 0
    else if (!wait) this.delay = 1000 + this.clock.random() * 2000
    // A held poll that is empty at once was not held: never ask in a circle.
    else this.delay = e.empty && age < wait * 500 ? 500 + this.clock.random() * 1000 : 0
    this.#probe = false
  }

  #pollFailed(e: Ending, age: number): void {
    if (this.#answered) this.#hold.broken()
    if (this.#plan.wait && age >= 1000) {
      const constant = this.#hold.failed(age, e.kind === 'foreign' && e.gateway)
      this.#probe = true
      this.delay = constant ? 0 : this.clock.random() * 500
      if (constant && !this.#doubt) this.#remember()
      return
    }
    if (this.#doubt) {
      this.#mode = 'stream'
      this.#doubt = false
    }
    this.#fault()
  }

  #remember(): void {
    const life = this.#life < Infinity ? this.#life : null
    this.save(this.#mode === 'stream' && !life ? undefined : {
      transport: this.#mode, life, wait: this.#hold.wait, again: this.#again, round: this.#round,
    })
  }
}
