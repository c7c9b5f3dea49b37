import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Kind } from '../../src/attempt.js'
import { beat, is, Rig } from './rig.js'

test('the ladder begins with a stream, whose first frame may take 3 s', () => {
  const r = new Rig()
  is(r, 'stream')
  assert.equal(r.ladder.deadline - r.clock.now(), 3000)
  assert.equal(r.ladder.up, false)
  r.hello()
  assert.equal(r.ladder.up, true)
})

test('without a hello in time one poll follows at once that is not held, then held ones', () => {
  const r = new Rig()
  r.begin()
  r.late()
  assert.equal(r.ladder.delay, 0)
  is(r, 'poll', 0)
  assert.equal(r.saved, undefined, 'the poll has not answered yet, so no verdict is stored')
  r.page()
  assert.deepEqual(r.saved, { transport: 'poll', wait: 25, life: Infinity, retryStreamAt: r.clock.wall() + 60_000, round: 1 })
  assert.equal(r.ladder.up, true)
  assert.equal(r.ladder.delay, 0)
  is(r, 'poll', 25)
})

test('without a hello because the network is down no verdict is stored', () => {
  const r = new Rig()
  r.begin()
  r.late()
  is(r, 'poll')
  r.end(5)
  assert.equal(r.saved, undefined)
  assert.equal(r.ladder.up, false)
  is(r, 'stream')
})

test('on a slow network the stream gets more time, and does not count as buffered', () => {
  const r = new Rig()
  r.begin()
  r.late()
  is(r, 'poll')
  r.page(4000)
  assert.equal(r.saved, undefined)
  is(r, 'stream')
  assert.equal(r.ladder.deadline - r.clock.now(), 8000)
})

test('a stream that is reset before its first frame is tried once more, then polls follow', () => {
  const r = new Rig()
  r.begin()
  r.end(10)
  is(r, 'stream')
  r.end(10)
  is(r, 'poll', 0)
  r.page()
  assert.equal(r.saved?.transport, 'poll')
})

test('a foreign answer counts as a reset, until a hello arrives', () => {
  const r = new Rig()
  r.begin()
  r.end(10, { kind: Kind.Foreign })
  r.begin()
  r.hello()
  r.end(20_000)
  is(r, 'stream')
  r.end(10, { kind: Kind.Foreign })
  is(r, 'stream')
})

test('heartbeats that arrive together show that a proxy holds frames back', () => {
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

test('heartbeats that are all equally late do not count as held back, nor does a wrong clock', () => {
  const r = new Rig()
  r.begin()
  r.hello()
  for (const age of [3_600_000, 3_601_000, 3_599_500, 3_609_000]) {
    r.clock.go(15_000)
    r.heartbeat(age)
  }
  assert.ok(r.ladder.deadline > r.clock.now())
})

test('old events in a burst are a catch-up, not frames that were held back', () => {
  const r = new Rig()
  r.begin()
  r.hello()
  for (let i = 0; i < 100; i++) r.ladder.frame()
  assert.ok(r.ladder.deadline > r.clock.now())
})

test('after 2.5 silent heartbeats the stream is opened again at once; if it is silent twice, polls follow', () => {
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

test('a stream that falls silent after a long time counts as a dead connection, not as held back', () => {
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

test('if streams are cut at the same age, the client ends them earlier by itself', () => {
  const r = new Rig()
  r.begin()
  r.hello()
  r.end(29_950)
  assert.ok(r.ladder.delay <= 2000, 'the delay is at most what the server asked with retry')
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

test('streams that are cut at different ages are only opened again', () => {
  const r = new Rig()
  for (const age of [12_000, 29_000, 20_000]) {
    is(r, 'stream')
    r.hello()
    r.end(age)
    assert.ok(r.ladder.delay <= 2000)
  }
  assert.equal(r.saved, undefined)
})

test('after two streams that were cut at 3 s come polls that are held for less', () => {
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

test('after failures the delay is random below a bound that doubles up to 30 s', () => {
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

test('the client waits for as long as the server asks', () => {
  const r = new Rig()
  r.begin()
  r.hello()
  r.end(100, { kind: Kind.ComeBack, after: 2.5 })
  assert.equal(r.ladder.delay, 2500)
  assert.equal(r.ladder.up, true)
  r.begin()
  r.end(10, { kind: Kind.Busy, after: 7 })
  assert.ok(r.ladder.delay >= 7000)
  assert.equal(r.ladder.up, false)
  is(r, 'stream')
})

test('a wake-up leads at once to a poll that is not held, and on a new network to a stream', () => {
  const r = new Rig().buffered()
  is(r, 'poll', 25)
  r.ladder.wake(false)
  r.end(0, { kind: Kind.Woken })
  assert.equal(r.ladder.delay, 0)
  is(r, 'poll', 0)
  r.ladder.wake(true)
  r.end(0, { kind: Kind.Woken })
  is(r, 'stream')
})

test('a stream is stale when a frame is overdue', () => {
  const r = new Rig()
  r.begin()
  r.hello()
  assert.equal(r.ladder.stale(), false)
  r.clock.go(beat * 1.1)
  assert.equal(r.ladder.stale(), false)
  r.clock.go(beat)
  assert.equal(r.ladder.stale(), true)
})

test('a forced transport is the only one used, with delays after failures', () => {
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
  poll.end(0, { kind: Kind.Woken })
  is(poll, 'stream')
})
