/*
 * Finds the best transport that works. It is a state machine without effects:
 * begin says what to try, the calls below it tell the ladder what happened, and end decides
 * what follows, after `delay`.
 *
 *                  hello                        hello
 *     connecting ---------> streaming <--------------------- trying
 *       |  ^  ^               |   |                           |  ^
 *       |  |  +---- ended ----+   | bursts, silence twice,    |  |
 *       |  |                      | early cuts         failed |  | from time to time,
 *       |  | the poll failed,     |                           |  | later and later
 *       |  | or path is slow      |                           v  |
 *       |  |                      |              +----------------------+
 *       |  +--------- checking <--+              |        a page        |
 *       |              ^   |         a page      | probing ---> polling |
 *       +--------------+   +-------------------> |         <---         |
 *        no hello, or                            |  failed, or woken    |
 *        refused twice                           +----------------------+
 *
 * - connecting: the client asks for a stream. streaming: the stream has said hello. It fails if it goes
 *   silent twice, is cut early again and again, or if its events arrive in bursts (a proxy holds them back).
 * - checking: the stream failed, and a poll tests whether the network works. A page (the
 *   answer of a poll) leads to polling.
 * - polling: events come by polls, held for as long as the proxies allow, which may be not at all.
 *   probing: the next poll is not held, to test whether anything gets through.
 * - trying: the client asks for a stream again, from probing or polling. If that fails, probing follows.
 *
 * If the application insists on streams, only connecting and streaming occur; if it insists on
 * polls, only probing and polling. force begins anew with one of them. The ladder of clients/go has
 * the same states; testdata/ladder.json says what both must do.
 */

import { Kind, State, type Ending, type Ladder, type Plan } from './attempt.js'
import { backoff } from './backoff.js'
import type { Clock } from './clock.js'
import { createHold, same } from './hold.js'
import type { Transport } from './types.js'
import type { Verdict } from './verdict.js'

const shortLife = 10_000 // long polls are better than streams that are cut earlier
const bearable = 5 // how many bodies of polls may break one after the other

/** Makes a ladder. known: what was found out before. save gets what is found out, or nothing when it is to be forgotten. */
export function createLadder(
  clock: Clock, known: Verdict | undefined, save: (v: Verdict | undefined) => void, forced?: Transport,
): Ladder {
  const { now, wall, random } = clock
  let hold = createHold()
  let life = Infinity
  let retryStreamAt = 0 // when the stream is tried again (clock.wall)
  let round = 0 // how often it was tried again and failed
  let timedOutAfter = 0 // while checking: the patience for the stream's first frame, if the stream timed out
  let restart = false // the next attempt begins the ladder anew
  let rtt = 0

  // Counted in a row:
  let failures = 0
  let refused = 0 // refused streams
  let silences = 0
  let reach = 0 // the greatest age at which a frame came in those silent streams
  let short = 0 // streams that were cut soon
  let longest = 0 // the longest life of these streams
  let cut = 0 // age at which the last stream was cut
  let missed = 0 // polls that failed
  let broken = 0 // polls with an incomplete body
  let timeouts = 0 // polls not answered in time

  // Of the attempt:
  let plan: Plan
  let began = 0
  let answered = false
  let heard = 0 // when the last frame came
  let beat = 0
  let pause = 0 // after how long the server ends the first pauses
  let pauses = 0 // how many of those pauses are still to come
  let owed = false // a heartbeat must end the pause after the last frame
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
      round = 0 // the stream works for more than its first frames
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
      if (open) ladder.state = State.Connecting // unless the code below decides otherwise
      if (trial) ladder.state = State.Probing
      if (open && age >= shortLife) short = 0 // it lived long enough, however it ended
      if (kind === Kind.ComeBack) cut = short = 0 // not cut this time
      else if (kind === Kind.Busy) fault(ladder.delay)
      else if (kind === Kind.Page) page(e, age)
      else if (kind === Kind.Woken) return
      else if (plan.transport === 'poll') pollFailed(e, age)
      else if (!open) nothingCame(kind === Kind.TimedOut, trial)
      else if (kind === Kind.TimedOut) gaveUp(age)
      else streamCut(age)
      if (kind !== Kind.Foreign || !after) return
      // The proxy is judged in the same way, but no event can come before that time.
      ladder.up = false
      ladder.delay = Math.max(ladder.delay, spread(after * 1000))
    },
  }
  return ladder

  /** Whether events come by polls. */
  function polls(): boolean {
    return ladder.state === State.Probing || ladder.state === State.Polling
  }

  /** Makes the next poll one that is not held, to test whether anything gets through. */
  function probe(): void {
    if (ladder.state === State.Polling) ladder.state = State.Probing
  }

  /** Milliseconds that a stream has for its first frame. */
  function patience(): number {
    return Math.max(2 * rtt, 3000)
  }

  function aged(at: number | undefined): void {
    if (!at) return
    young = Math.min(young, now() - at)
    old = Math.max(old, now() - at)
  }

  /**
   * Whether a proxy holds frames back: it passes them on in bursts, or holds the last one
   * until the next comes. Only hello and heartbeats show this: they are sent when they are
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

  /** Sets the delay to a random time below this many milliseconds. */
  function some(ms: number): void {
    ladder.delay = random() * ms
  }

  /** Returns ms or up to a quarter more, so that not all clients return at the same moment. */
  function spread(ms: number): number {
    return ms * (1 + random() / 4)
  }

  /** Handles a failure of the network: nothing gets through at present, by any transport. */
  function fault(least = 0): void {
    ladder.up = false
    probe()
    ladder.delay = Math.max(spread(least), backoff(clock, failures++))
  }

  /** Handles a stream that ended before its hello. A trial is not repeated, since polls work. */
  function nothingCame(timedOut: boolean, trial: boolean): void {
    if (timedOut) fall(patience())
    else if (trial || ++refused > 1) fall()
    else if (ladder.up) some(500)
    else fault()
  }

  /** Handles an open stream whose planned life is over, or that was silent for too long. */
  function gaveUp(age: number): void {
    cut = short = 0
    if (batched()) return fall()
    if (age >= life) return
    if (owed) return fall(patience()) // the stream is held back, or the network failed
    reach = Math.max(silences && reach, heard - began)
    if (++silences < 2) return
    // Something forgets connections at some age, also those of polls.
    if (reach >= 2000) hold.shorten(reach)
    fall()
  }

  function streamCut(age: number): void {
    const constant = same(age, cut)
    cut = age
    if (age < shortLife) longest = Math.max(short++ && longest, age)
    if (short > 2 || (short && constant)) {
      // Polls are cut at that age, too; or earlier, if connections are older than the streams on
      // them.
      const limit = constant ? age : longest
      if (limit >= 2000) hold.shorten(limit)
      return fall()
    }
    if (!constant) return some(retry)
    life = age * 0.85
    retryStreamAt = wall() + 3_600_000
    remember()
  }

  /** Changes to polling, unless the application insists on streams. */
  function fall(patient = 0): void {
    refused = silences = cut = short = 0
    if (forced) return fault()
    if (polls()) {
      // The trial failed, as expected: polling continues, with longer polls.
      hold.lengthen()
      return postpone()
    }
    ladder.state = State.Checking
    timedOutAfter = patient
  }

  /** Sets when the stream is tried again: after a minute, two, four, up to an hour. */
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
        // The network is only slow, and the stream had too little time.
        ladder.state = State.Connecting
        return
      }
      postpone()
    }
    const first = state !== State.Polling && hold.wait
    if (after || more || first) return
    if (!wait) ladder.delay = 1000 + random() * 2000
    // A held poll that is empty at once was not held: wait, so that polls do not loop.
    else if (empty && age < wait * 500) ladder.delay = 500 + random() * 1000
  }

  function pollFailed({ kind, gateway }: Ending, age: number): void {
    const checking = ladder.state === State.Checking
    probe()
    if (kind === Kind.TimedOut && !answered) timeouts++
    if (answered && kind !== Kind.Foreign) {
      // The network works but cuts answers: ask again soon, for fewer events.
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

  /** Saves what was found out, unless the application insists on polls, which says nothing about streams. */
  function remember(): void {
    if (forced === 'poll') return
    const transport = polls() ? 'poll' : 'stream'
    save(transport === 'stream' && life === Infinity ? undefined : { transport, life, wait: hold.wait, retryStreamAt, round })
  }
}
