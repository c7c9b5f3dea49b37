import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Ending, Plan } from '../../src/attempt.js'
import { createLadder, type Ladder } from '../../src/ladder.js'
import type { Transport } from '../../src/types.js'
import type { Verdict } from '../../src/verdict.js'
import { FakeClock } from './fakes.js'

const beat = 15_000

/** A ladder, its clock, and the ways in which attempts go. */
class Rig {
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
    this.ladder.end({ kind: 'late' })
  }

  end(ms: number, e: Ending | 'closed' = 'closed'): void {
    this.clock.go(ms)
    this.ladder.end(e === 'closed' ? { kind: e } : e)
  }

  hello(rtt = 50): void {
    this.clock.go(rtt)
    this.ladder.hello(beat, 2000)
  }

  /** A heartbeat that was on the way for so long. */
  heartbeat(age = 10): void {
    this.ladder.frame(this.clock.wall() - age)
  }

  page(ms = 50, more: Partial<Ending> = {}): void {
    this.clock.go(ms)
    this.ladder.answered()
    this.ladder.end({ kind: 'page', empty: true, more: false, ...more })
  }

  /** Down to polling, confirmed, the way a buffering proxy does it. */
  buffered(): this {
    this.begin()
    this.late()
    this.begin()
    this.page()
    return this
  }
}

/** Polls, with no thought of the stream. */
function polling(): Rig {
  const r = new Rig({ transport: 'poll', wait: 25, life: null, again: 1_800_000_000_000, round: 9 })
  r.begin()
  r.page()
  return r
}

const is = (r: Rig, transport: Transport, wait?: number) => {
  const p = r.begin()
  assert.equal(p.transport, transport)
  if (wait !== undefined) assert.equal(p.wait, wait)
}

test('begins with a stream, which may take 3 s to its first frame', () => {
  const r = new Rig()
  is(r, 'stream')
  assert.equal(r.ladder.deadline - r.clock.now(), 3000)
  assert.equal(r.ladder.up, false)
  r.hello()
  assert.equal(r.ladder.up, true)
})

test('no hello in time: a poll at once, which is not held; then held ones', () => {
  const r = new Rig()
  r.begin()
  r.late()
  assert.equal(r.ladder.delay, 0)
  is(r, 'poll', 0)
  assert.equal(r.saved, undefined, 'still in doubt')
  r.page()
  assert.deepEqual(r.saved, { transport: 'poll', wait: 25, life: null, again: r.clock.wall() + 60_000, round: 1 })
  assert.equal(r.ladder.up, true)
  assert.equal(r.ladder.delay, 0)
  is(r, 'poll', 25)
})

test('no hello because the network is gone: the verdict is dropped', () => {
  const r = new Rig()
  r.begin()
  r.late()
  is(r, 'poll')
  r.end(5)
  assert.equal(r.saved, undefined)
  assert.equal(r.ladder.up, false)
  is(r, 'stream')
})

test('a slow network is no buffering one: the stream gets the time it takes', () => {
  const r = new Rig()
  r.begin()
  r.late()
  is(r, 'poll')
  r.page(4000)
  assert.equal(r.saved, undefined)
  is(r, 'stream')
  assert.equal(r.ladder.deadline - r.clock.now(), 8000)
})

test('reset before the first frame: once more, then polls', () => {
  const r = new Rig()
  r.begin()
  r.end(10)
  is(r, 'stream')
  r.end(10)
  is(r, 'poll', 0)
  r.page()
  assert.equal(r.saved?.transport, 'poll')
})

test('a foreign answer counts as a reset; a hello forgets it', () => {
  const r = new Rig()
  r.begin()
  r.end(10, { kind: 'foreign' })
  r.begin()
  r.hello()
  r.end(20_000)
  is(r, 'stream')
  r.end(10, { kind: 'foreign' })
  is(r, 'stream')
})

test('heartbeats that come together are batched', () => {
  const r = new Rig()
  r.begin()
  r.hello()
  r.clock.go(30_000)
  r.heartbeat(15_500)
  assert.ok(r.ladder.deadline > r.clock.now())
  r.heartbeat(100)
  assert.ok(r.ladder.deadline <= r.clock.now())
  r.ladder.frame() // another of the same burst does not save it
  assert.ok(r.ladder.deadline <= r.clock.now())
  r.late()
  is(r, 'poll', 0)
})

test('heartbeats that come late alike are only late; a wrong clock is nothing', () => {
  const r = new Rig()
  r.begin()
  r.hello()
  for (const age of [3_600_000, 3_601_000, 3_599_500, 3_609_000]) {
    r.clock.go(15_000)
    r.heartbeat(age)
  }
  assert.ok(r.ladder.deadline > r.clock.now())
})

test('old events in a burst are a catch-up', () => {
  const r = new Rig()
  r.begin()
  r.hello()
  for (let i = 0; i < 100; i++) r.ladder.frame()
  assert.ok(r.ladder.deadline > r.clock.now())
})

test('silence over 2.5 heartbeats: at once anew; twice: polls', () => {
  const r = new Rig()
  r.begin()
  r.hello()
  assert.equal(r.ladder.deadline - r.clock.now(), 2.5 * beat)
  r.late()
  assert.equal(r.ladder.delay, 0)
  is(r, 'stream')
  r.hello()
  r.late()
  is(r, 'poll', 0)
})

test('silence after a long time is half-open, not withheld', () => {
  const r = new Rig()
  for (let i = 0; i < 4; i++) {
    is(r, 'stream')
    r.hello()
    for (let n = 0; n < 3; n++) {
      r.clock.go(beat)
      r.heartbeat()
    }
    r.late()
  }
  is(r, 'stream')
})

test('connections forgotten at 4 s: polls that are shorter than that', () => {
  const r = new Rig()
  for (const ages of [[1000, 3000], [500]]) {
    is(r, 'stream')
    r.hello(0)
    for (const age of ages) {
      r.clock.go(age)
      r.ladder.frame()
    }
    r.late()
  }
  is(r, 'poll', 0)
  r.page()
  is(r, 'poll', 2.8) // the greatest age at which anything came
})

test('connections forgotten at once: the polls are not to blame', () => {
  const r = new Rig()
  for (let i = 0; i < 2; i++) {
    r.begin()
    r.hello()
    r.late()
  }
  is(r, 'poll', 0)
  r.page()
  is(r, 'poll', 25)
})

test('what an earlier, longer silent stream let through does not count', () => {
  const r = new Rig()
  const silentAt = (age: number) => {
    is(r, 'stream')
    r.hello(0)
    r.clock.go(age)
    r.ladder.frame()
    r.late()
  }
  silentAt(30_000)
  is(r, 'stream')
  r.hello(0)
  r.clock.go(40_000)
  r.ladder.frame() // it lived: the count begins anew
  r.end(0, { kind: 'asked', after: 0 })
  silentAt(2500)
  silentAt(2100)
  is(r, 'poll', 0)
  r.page()
  is(r, 'poll', 1.7)
})

test('cut at the same age: the stream ends itself before', () => {
  const r = new Rig()
  r.begin()
  r.hello()
  r.end(29_950)
  assert.ok(r.ladder.delay <= 2000, 'no longer than the server asked with retry')
  r.begin()
  r.hello()
  r.end(30_100)
  assert.equal(r.ladder.delay, 0)
  is(r, 'stream')
  r.hello()
  const life = r.ladder.deadline - r.clock.now() + 50
  assert.ok(life < 30_000 && life > 20_000, `${life}`)
  assert.equal(Math.round(r.saved!.life!), Math.round(life))
  r.late()
  assert.equal(r.ladder.delay, 0)
  is(r, 'stream')
  assert.equal(r.ladder.up, true)
})

test('cut at ages that differ: only anew', () => {
  const r = new Rig()
  for (const age of [12_000, 29_000, 20_000]) {
    is(r, 'stream')
    r.hello()
    r.end(age)
    assert.ok(r.ladder.delay <= 2000)
  }
  assert.equal(r.saved, undefined)
})

test('cut at 3 s again: polls that are shorter than that', () => {
  const r = new Rig()
  for (let i = 0; i < 2; i++) {
    r.begin()
    r.hello()
    r.end(2950)
  }
  is(r, 'poll', 0)
  r.page()
  is(r, 'poll', 2.1)
})

test('polls that fail at the same age: halved and below it, down to short ones', () => {
  for (const [cut, want] of [[20_000, 12.5], [10_000, 7], [3000, 2.1], [1200, 0]] as const) {
    const r = polling()
    const waits = new Set<number>()
    for (let i = 0; i < 40; i++) {
      is(r, 'poll')
      waits.add(r.plan.wait)
      if (r.plan.wait * 1000 < cut) r.page(r.plan.wait * 1000 + 50)
      else r.end(cut)
    }
    assert.deepEqual([...waits], want ? [25, 0, want] : [25, 0])
    assert.equal(r.saved!.wait, want)
    if (!want) assert.ok(r.ladder.delay >= 1000 && r.ladder.delay <= 3000)
  }
})

test('a gateway says its timeout: one failure is enough', () => {
  const r = new Rig().buffered()
  is(r, 'poll', 25)
  r.end(10_000, { kind: 'foreign', gateway: true })
  assert.equal(r.ladder.delay, 0)
  is(r, 'poll', 0)
  r.page()
  is(r, 'poll', 7)
})

test('one failure of a held poll, and one that says nothing about age', () => {
  const r = new Rig().buffered()
  is(r, 'poll', 25)
  r.end(10_000)
  assert.equal(r.ladder.up, true)
  is(r, 'poll', 0)
  r.page()
  is(r, 'poll', 25)
  r.page(25_000) // lasted: the cut was chance
  is(r, 'poll', 25)
  r.end(10_000)
  r.begin()
  r.page()
  is(r, 'poll', 25)
})

test('one poll that fails is chance; two in a row are not', () => {
  const r = new Rig().buffered()
  for (const fail of [() => r.end(5), () => r.end(5, { kind: 'foreign' }), () => r.late()]) {
    is(r, 'poll', 25)
    fail()
    assert.equal(r.ladder.up, true)
    assert.ok(r.ladder.delay <= 500)
    is(r, 'poll', 0)
    r.page()
  }
  is(r, 'poll', 25)
  r.end(5)
  is(r, 'poll', 0)
  r.end(5)
  assert.equal(r.ladder.up, false)
  is(r, 'poll', 0)
  r.page()
  assert.equal(r.ladder.up, true)
  r.begin()
  r.end(10_000) // held, and the question after it fails, too
  is(r, 'poll', 0)
  r.end(5)
  assert.equal(r.ladder.up, false)
})

test('a stream refused once is chance, too, unless nothing has worked yet', () => {
  const r = new Rig()
  r.begin()
  r.end(10)
  assert.equal(r.ladder.up, false)
  r.begin()
  r.hello()
  r.end(20_000)
  is(r, 'stream')
  r.end(10)
  assert.equal(r.ladder.up, true)
  assert.ok(r.ladder.delay <= 500)
  is(r, 'stream')
  r.end(10)
  is(r, 'poll', 0)
  r.end(10)
  assert.equal(r.ladder.up, false)
  is(r, 'stream')
})

test('a request that is late gets twice the time, up to 30 s; an answer ends that', () => {
  const r = polling()
  const patience = () => r.ladder.deadline - r.clock.now() - r.plan.wait * 1000
  const seen: number[] = []
  for (let i = 0; i < 6; i++) {
    is(r, 'poll')
    seen.push(patience())
    r.late()
  }
  assert.deepEqual(seen, [3000, 6000, 12_000, 24_000, 30_000, 30_000])
  is(r, 'poll', 0)
  r.page(5000)
  is(r, 'poll')
  assert.equal(patience(), 10_000, 'twice what a request takes')
})

test('three streams that are cut soon, at whatever age: polls that are shorter than the longest', () => {
  for (const [ages, wait] of [[[2500, 9000, 5500], 6.3], [[9000, 2500, 2600], 1.8]] as const) {
    const r = new Rig()
    for (const age of ages) {
      is(r, 'stream')
      r.hello()
      r.end(age)
    }
    is(r, 'poll', 0)
    r.page()
    is(r, 'poll', wait)
  }
})

test('three streams cut at once say nothing of polls; an earlier series does not count', () => {
  const r = new Rig()
  for (const age of [9000, 12_000, 900, 1400, 1900]) {
    is(r, 'stream')
    r.hello()
    r.end(age)
  }
  is(r, 'poll', 0)
  r.page()
  is(r, 'poll', 25)
})

test('what lived in between, or was asked to come back, begins the count anew', () => {
  for (const between of [
    () => r.end(12_000), () => r.end(100, { kind: 'asked', after: 1 }), () => r.end(12_000, { kind: 'woken' }),
  ]) {
    var r = new Rig()
    for (const age of [2500, 5500, 0, 2500, 5500]) {
      is(r, 'stream')
      r.hello()
      if (age) r.end(age)
      else between()
    }
    is(r, 'stream')
  }
})

test('pages that break off: soon again, and lost only when that goes on', () => {
  const r = new Rig().buffered()
  r.clock.chance = 0.999
  const breaks = () => {
    r.begin()
    r.ladder.answered()
    r.end(10)
  }
  for (let round = 0; round < 2; round++) {
    for (let i = 0; i < 4; i++) {
      breaks()
      assert.ok(r.ladder.delay < 300)
      assert.equal(r.ladder.up, true)
    }
    r.begin()
    r.page()
  }
  for (let i = 0; i < 5; i++) breaks()
  assert.equal(r.ladder.up, false)
  r.begin()
  r.page()
  r.begin()
  r.ladder.answered()
  r.end(10, { kind: 'foreign' }) // whole, and not Culvert's
  assert.equal(r.begin().limit, 2, 'no reason to ask for less')
})

test('in doubt, a poll that fails speaks for the stream, however leniently others are judged', () => {
  const r = new Rig()
  r.begin()
  r.hello()
  r.end(20_000)
  r.begin()
  r.late()
  is(r, 'poll', 0)
  r.end(5)
  assert.equal(r.ladder.up, false)
  assert.equal(r.saved, undefined)
  is(r, 'stream')
})

test('a poll that is never answered: is there a way at all?', () => {
  const r = polling()
  is(r, 'poll', 25)
  r.late()
  is(r, 'poll', 0)
  r.page()
  is(r, 'poll', 25)
  r.late()
  r.begin()
  r.page()
  is(r, 'poll', 12.5)
})

test('pages cut in the middle become smaller, and larger again', () => {
  const r = new Rig().buffered()
  assert.equal(r.begin().limit, 100)
  r.ladder.answered()
  r.end(10)
  assert.equal(r.begin().limit, 50)
  r.ladder.answered()
  r.end(10)
  assert.equal(r.begin().limit, 25)
  r.page()
  assert.equal(r.begin().limit, 50)
})

test('more: at once; retry: then; empty at once: not in a circle', () => {
  const r = new Rig().buffered()
  r.begin()
  r.page(10, { empty: false, more: true })
  assert.equal(r.ladder.delay, 0)
  r.begin()
  r.page(10, { after: 3 })
  assert.equal(r.ladder.delay, 3000)
  r.begin()
  r.page(10)
  assert.ok(r.ladder.delay >= 500)
  r.begin()
  r.page(25_000)
  assert.equal(r.ladder.delay, 0)
})

test('the stream is tried again, later and later, and polls go on', () => {
  const r = new Rig().buffered()
  const pauses: number[] = []
  let last = r.clock.now()
  while (pauses.length < 9) {
    if (r.begin().transport === 'poll') {
      r.page(r.plan.wait * 1000 || 50)
      continue
    }
    pauses.push(r.clock.now() - last)
    r.late()
    assert.equal(r.ladder.up, true, 'no reason to call it lost')
    assert.equal(r.ladder.delay, 0)
    last = r.clock.now()
  }
  assert.ok(pauses[0]! >= 60_000 && pauses[0]! < 90_000, `${pauses}`)
  assert.ok(pauses[1]! >= 120_000 && pauses[8]! >= 3_600_000 && pauses[8]! < 3_700_000, `${pauses}`)
})

test('the trial succeeds: the verdict goes when the stream has lived for 2.5 heartbeats', () => {
  const r = new Rig().buffered()
  while (r.begin().transport === 'poll') r.page(25_000)
  r.hello()
  assert.equal(r.saved?.transport, 'poll', 'a first frame proves little')
  for (let n = 0; n < 3; n++) {
    assert.equal(r.saved?.transport, 'poll')
    r.clock.go(beat)
    r.heartbeat()
  }
  assert.equal(r.saved, undefined)
  r.end(100)
  is(r, 'stream')
})

test('the verdict outlives the program, and its end', () => {
  const first = new Rig().buffered()
  const r = new Rig(first.saved)
  is(r, 'poll', 0)
  r.page()
  is(r, 'poll', 25)
  r.page(25_000)
  r.clock.go(60_000)
  is(r, 'stream')
  r.end(10) // refused once is enough for a trial
  is(r, 'poll', 0)
  assert.equal(r.saved!.round, 2)
})

test('failures: full jitter below a bound that doubles to 30 s', () => {
  const r = new Rig()
  r.clock.chance = 0.999
  const delays: number[] = []
  for (let i = 0; i < 12; i++) {
    r.begin()
    r.end(1)
    if (r.ladder.delay) delays.push(Math.round(r.ladder.delay))
  }
  assert.deepEqual(delays.slice(0, 4), [500, 999, 1998, 3996])
  assert.equal(delays.at(-1), 29_970)
  r.clock.chance = 0
  r.begin()
  r.end(1)
  assert.equal(r.ladder.delay, 0)
})

test('what the server asks for is obeyed', () => {
  const r = new Rig()
  r.begin()
  r.hello()
  r.end(100, { kind: 'asked', after: 2.5 })
  assert.equal(r.ladder.delay, 2500)
  assert.equal(r.ladder.up, true)
  r.begin()
  r.end(10, { kind: 'busy', after: 7 })
  assert.ok(r.ladder.delay >= 7000)
  assert.equal(r.ladder.up, false)
  is(r, 'stream')
})

test('woken: at once, with a poll that is not held; from a new network with a stream', () => {
  const r = new Rig().buffered()
  is(r, 'poll', 25)
  r.ladder.wake(false)
  r.end(0, { kind: 'woken' })
  assert.equal(r.ladder.delay, 0)
  is(r, 'poll', 0)
  r.ladder.wake(true)
  r.end(0, { kind: 'woken' })
  is(r, 'stream')
})

test('stale: when a frame is overdue', () => {
  const r = new Rig()
  r.begin()
  r.hello()
  assert.equal(r.ladder.stale(), false)
  r.clock.go(beat * 1.1)
  assert.equal(r.ladder.stale(), false)
  r.clock.go(beat)
  assert.equal(r.ladder.stale(), true)
})

test('forced: that transport and no other, without haste', () => {
  const stream = new Rig(undefined, 'stream')
  for (let i = 0; i < 5; i++) {
    is(stream, 'stream')
    stream.late()
    assert.ok(stream.ladder.delay > 0)
    assert.equal(stream.ladder.up, false)
  }
  const poll = new Rig(undefined, 'poll')
  is(poll, 'poll', 0)
  poll.page()
  poll.clock.go(7_200_000)
  is(poll, 'poll', 25)
  poll.ladder.force(undefined)
  poll.end(0, { kind: 'woken' })
  is(poll, 'stream')
})

/** Polls until the stream is tried again, which works. */
function trial(r: Rig): void {
  while (r.begin().transport === 'poll') r.page(r.plan.wait * 1000 || 50)
  r.hello()
}

test('after a fall, a stream that works again is judged afresh', () => {
  const cuts = new Rig()
  for (const age of [2500, 5500, 9000]) {
    cuts.begin()
    cuts.hello()
    cuts.end(age)
  }
  trial(cuts)
  cuts.end(4000)
  is(cuts, 'stream')

  const silent = new Rig()
  for (let i = 0; i < 2; i++) {
    silent.begin()
    silent.hello()
    silent.late()
  }
  trial(silent)
  silent.late()
  is(silent, 'stream')

  const missed = new Rig().buffered()
  missed.begin()
  missed.end(5)
  missed.clock.go(120_000)
  is(missed, 'stream')
  missed.hello()
  missed.ladder.force('poll')
  missed.end(0, { kind: 'woken' })
  is(missed, 'poll')
  missed.end(5)
  assert.equal(missed.ladder.up, true)
})

test('a cut, a silence, a cut at the age of the first: chance', () => {
  const r = new Rig()
  r.begin()
  r.hello()
  r.end(29_950)
  r.begin()
  r.hello()
  r.late()
  r.begin()
  r.hello()
  r.end(29_950)
  assert.equal(r.saved, undefined)
})

test('something on the way says when to come back', () => {
  const r = new Rig().buffered()
  r.begin()
  r.end(5, { kind: 'foreign', after: 8 })
  assert.ok(r.ladder.delay >= 8000 && r.ladder.delay <= 10_000)
  assert.equal(r.ladder.up, false)
  is(r, 'poll', 0)
  r.end(5, { kind: 'foreign' })
  assert.ok(r.ladder.delay <= 1000)
})

test('pages that broke before a stream worked do not count after it', () => {
  const r = new Rig().buffered()
  const breaks = () => {
    r.begin()
    r.ladder.answered()
    r.end(10)
  }
  for (let i = 0; i < 4; i++) breaks()
  r.clock.go(120_000)
  is(r, 'stream')
  r.hello()
  r.ladder.force('poll')
  r.end(0, { kind: 'woken' })
  for (let i = 0; i < 4; i++) breaks()
  assert.equal(r.ladder.up, true)
})
