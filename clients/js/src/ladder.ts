/*
 * Finds the best way to receive that works. It is a state machine that does nothing itself:
 * begin says what to try, the calls below it tell the ladder what happened, and end decides
 * what follows, after `delay`.
 *
 *                  hello                        hello
 *     connecting ---------> streaming <--------------------- trying
 *       |  ^  ^               |   |                           |  ^
 *       |  |  +---- ended ----+   | bursts, silence twice,    |  |
 *       |  |                      | early cuts         failed |  | from time to time,
 *       |  | the poll failed,     |                           |  | later and later
 *       |  | or the way is slow   |                           v  |
 *       |  |                      |              +----------------------+
 *       |  +--------- checking <--+              |        a page        |
 *       |              ^   |         a page      | probing ---> polling |
 *       +--------------+   +-------------------> |         <---         |
 *        no hello, or                            |  failed, or woken    |
 *        refused twice                           +----------------------+
 *
 * - connecting: a stream is asked for. streaming: it has said hello.
 * - checking: the stream failed, and a poll finds out whether the network did. A page leads
 *   to polling.
 * - polling: polls are the way, held for as long as the way lets them be, down to not at all.
 *   probing: the next one is not held, to see whether anything gets through.
 * - trying: a stream is asked for again, from either. Where it fails, probing follows.
 *
 * A stream that is insisted on only knows connecting and streaming, polls that are insisted on
 * only probing and polling; force begins anew with one of them. The ladder of clients/go has
 * the same states; testdata/ladder.json has what both must do.
 */

import { Kind, State, type Ending, type Ladder, type Plan } from './attempt.js'
import { backoff } from './backoff.js'
import type { Clock } from './clock.js'
import { createHold, same } from './hold.js'
import type { Transport } from './types.js'
import type { Verdict } from './verdict.js'

const shortLife = 10_000 // a stream cut earlier is worth less than long polls
const bearable = 5 // bodies of polls that break, one after the other

/** See above. known: what was found out before; save is told what is found out, or nothing to forget it. */
export function createLadder(
  clock: Clock, known: Verdict | undefined, save: (v: Verdict | undefined) => void, forced?: Transport,
): Ladder {
  const { now, wall, random } = clock
  let hold = createHold()
  let life = Infinity
  let retryStreamAt = 0 // the stream is tried again (clock.wall)
  let round = 0 // so often in vain
  let timedOutAfter = 0 // while checking: the patience that the stream was given, when that ran out
  let restart = false // the next attempt begins the ladder anew
  let rtt = 0

  // In a row:
  let failures = 0
  let refused = 0 // streams
  let silences = 0
  let reach = 0 // the greatest age at which a frame came in those silent streams
  let short = 0 // streams cut soon
  let longest = 0 // of those
  let cut = 0 // age at which the last stream was cut
  let missed = 0 // polls that failed
  let broken = 0 // polls whose body broke off
  let timeouts = 0 // polls not answered in time

  // Of the attempt:
  let plan: Plan
  let began = 0
  let answered = false
  let heard = 0 // when the last frame came
  let beat = 0
  let pause = 0 // the server ends its first pauses so soon
  let pauses = 0 // of those, still to come
  let owed = false // a heartbeat, for the pause after the last frame
  let retry = 0
  let young = 0 // the ages of its heartbeats, by two clocks: only their difference means something
  let old = 0

  if (known) {
    ({ retryStreamAt, round } = known)
    hold.wait = known.wait
    if (known.life && wall() < retryStreamAt) life = known.life
  }

  const ladder: Ladder = {
    state: (forced ?? known?.transport) === 'poll' ? State.Probing : State.Connecting,
    deadline: Infinity,
    delay: 0,
    up: false,

    force(transport) {
      forced = transport
      restart = true
    },

    begin() {
      heard = began = now()
      answered = false
      beat = 0
      if (restart) ladder.state = forced === 'poll' ? State.Probing : State.Connecting
      restart = false
      if (polls() && !forced && wall() >= retryStreamAt) ladder.state = State.Trying
      const transport = polls() || ladder.state === State.Checking ? 'poll' : 'stream'
      const wait = ladder.state === State.Polling ? hold.wait : 0
      ladder.deadline = began + (transport === 'stream' ? patience() : wait * 1000 + Math.min(patience() * 2 ** timeouts, 30_000))
      return (plan = { transport, wait, limit: hold.limit })
    },

    stale: () => now() - heard > 1.2 * beat,

    gotHeaders() {
      answered = true
      timeouts = 0
      ladder.deadline = now() + 30_000
      if (!plan.wait) rtt = now() - began
    },

    hello(heartbeat, after, settle, at) {
      ladder.up = true
      beat = heartbeat
      retry = after
      failures = refused = missed = broken = 0
      young = Infinity
      old = -young
      aged(at)
      pause = settle!
      pauses = settle ? 3 : 0
      hear()
      if (ladder.state === State.Trying) hold = createHold()
      ladder.state = State.Streaming
    },

    frame(at) {
      const proven = now() - began > 2.5 * beat
      if (proven) silences = 0
      aged(at)
      hear(at)
      if (!at || !proven || !round || batched()) return
      round = 0 // it works, and not only for its first frames
      remember()
    },

    wake(moved) {
      ladder.delay = failures = 0
      probe()
      if (moved) retryStreamAt = 0
    },

    end(e) {
      const age = now() - began
      const { kind, after = 0 } = e
      const { state } = ladder
      const open = state === State.Streaming
      const trial = state === State.Trying
      ladder.delay = after * 1000
      if (open) ladder.state = State.Connecting // unless it is judged below
      if (trial) ladder.state = State.Probing
      if (open && age >= shortLife) short = 0 // it lived, however it ended
      if (kind === Kind.ComeBack) cut = short = 0 // not cut this time
      else if (kind === Kind.Busy) fault(ladder.delay)
      else if (kind === Kind.Page) page(e, age)
      else if (kind === Kind.Woken) return
      else if (plan.transport === 'poll') pollFailed(e, age)
      else if (!open) nothingCame(kind === Kind.TimedOut, trial)
      else if (kind === Kind.TimedOut) gaveUp(age)
      else streamCut(age)
      if (kind !== Kind.Foreign || !after) return
      // What it says of the way stands, and no event can come before then.
      ladder.up = false
      ladder.delay = Math.max(ladder.delay, spread(after * 1000))
    },
  }
  return ladder

  /** Whether polls are the way. */
  function polls(): boolean {
    return ladder.state === State.Probing || ladder.state === State.Polling
  }

  /** The next poll is not held: is there a way at all? */
  function probe(): void {
    if (ladder.state === State.Polling) ladder.state = State.Probing
  }

  /** Milliseconds a stream has to bring its first frame. */
  function patience(): number {
    return Math.max(2 * rtt, 3000)
  }

  function aged(at: number | undefined): void {
    if (!at) return
    young = Math.min(young, now() - at)
    old = Math.max(old, now() - at)
  }

  /**
   * Whether something holds frames back: lets them go in bursts, or the last one only
   * when the next comes. Only hello and heartbeats show it: they are sent when they are
   * made, while events may be old.
   */
  function batched(): boolean {
    return old - young > Math.max(pauses ? 0 : 0.75 * beat, 2000)
  }

  function hear(at?: number): void {
    heard = now()
    owed = !at && pauses > 0
    const silence = Math.min(2.5 * beat, owed ? pause + patience() : Infinity)
    ladder.deadline = batched() ? heard : Math.min(heard + silence, began + life)
    if (at && pauses) pauses--
  }

  /** Some milliseconds below this many. */
  function some(ms: number): void {
    ladder.delay = random() * ms
  }

  /** These milliseconds, or up to a quarter more: not all return in one moment. */
  function spread(ms: number): number {
    return ms * (1 + random() / 4)
  }

  /** Nothing gets through at present, whichever way. */
  function fault(least = 0): void {
    ladder.up = false
    probe()
    ladder.delay = Math.max(spread(least), backoff(clock, failures++))
  }

  /** The stream ended before its hello. A trial is not repeated, since polls work. */
  function nothingCame(timedOut: boolean, trial: boolean): void {
    if (timedOut) fall(patience())
    else if (trial || ++refused > 1) fall()
    else if (ladder.up) some(500)
    else fault()
  }

  /** An open stream ran out of time: of its life as planned, or in silence. */
  function gaveUp(age: number): void {
    cut = short = 0
    if (batched()) return fall()
    if (age >= life) return
    if (owed) return fall(patience()) // it is held back, or all is
    reach = Math.max(silences && reach, heard - began)
    if (++silences < 2) return
    // Something forgets connections at some age, those of polls, too.
    if (reach >= 2000) hold.shorten(reach)
    fall()
  }

  function streamCut(age: number): void {
    const constant = same(age, cut)
    cut = age
    if (age < shortLife) longest = Math.max(short++ && longest, age)
    if (short > 2 || (short && constant)) {
      // A poll is cut at that age, too; where connections are older than the streams on
      // them, at that or earlier.
      const limit = constant ? age : longest
      if (limit >= 2000) hold.shorten(limit)
      return fall()
    }
    if (!constant) return some(retry)
    life = age * 0.85
    retryStreamAt = wall() + 3_600_000
    remember()
  }

  /** Down to polling, unless the stream is insisted on. */
  function fall(patient = 0): void {
    refused = silences = cut = short = 0
    if (forced) return fault()
    if (polls()) {
      // The trial failed, as was to be expected: polling goes on, a little bolder.
      hold.lengthen()
      return postpone()
    }
    ladder.state = State.Checking
    timedOutAfter = patient
  }

  /** The stream is tried again later: a minute, two, four, up to an hour. */
  function postpone(): void {
    retryStreamAt = wall() + Math.min(60_000 * 2 ** round++, 3_600_000)
    remember()
  }

  function page({ empty, more, after }: Ending, age: number): void {
    const { wait } = plan
    ladder.up = true
    failures = missed = broken = 0
    hold.page(!!empty && wait > 0 && age >= wait * 900)
    const { state } = ladder
    ladder.state = State.Polling
    if (state === State.Checking) {
      if (timedOutAfter && timedOutAfter < patience()) {
        // The way is only slow, and the stream was not given the time it takes.
        ladder.state = State.Connecting
        return
      }
      postpone()
    }
    const first = state !== State.Polling && hold.wait
    if (after || more || first) return
    if (!wait) ladder.delay = 1000 + random() * 2000
    // A held poll that is empty at once was not held: never ask in a circle.
    else if (empty && age < wait * 500) ladder.delay = 500 + random() * 1000
  }

  function pollFailed({ kind, gateway }: Ending, age: number): void {
    const checking = ladder.state === State.Checking
    probe()
    if (kind === Kind.TimedOut && !answered) timeouts++
    if (answered && kind !== Kind.Foreign) {
      // The way is there, and cuts: soon again, for less.
      hold.broken()
      if (++broken < bearable) return some(300)
    }
    if (plan.wait && age >= 1000) {
      missed++
      if (!hold.failed(age, gateway)) some(500)
      else remember()
    } else if (checking || missed++ || broken >= bearable) {
      if (checking) ladder.state = State.Connecting
      fault()
    } else some(500)
  }

  /** Saves what was found out. Who insists on polls finds out nothing of streams. */
  function remember(): void {
    if (forced === 'poll') return
    const transport = polls() ? 'poll' : 'stream'
    save(transport === 'stream' && life === Infinity ? undefined : { transport, life, wait: hold.wait, retryStreamAt, round })
  }
}
