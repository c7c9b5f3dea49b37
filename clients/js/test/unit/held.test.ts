// Proxies that hold back the last piece until more comes.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { beat, is, Rig } from './rig.js'

test('a stream whose first pause does not end within 4 s gives way to polls', () => {
  const r = new Rig()
  r.begin()
  r.settling()
  assert.equal(r.ladder.deadline - r.clock.now(), 4000)
  r.clock.go(1000)
  r.ladder.frame() // an event: hello was not the last
  assert.equal(r.ladder.deadline - r.clock.now(), 4000)
  r.late()
  assert.equal(r.ladder.delay, 0)
  is(r, 'poll', 0)
  r.page()
  assert.equal(r.saved?.transport, 'poll')
})

test('a heartbeat ends a pause; the fourth pause may be long', () => {
  const r = new Rig()
  r.begin()
  r.settling()
  for (let n = 0; n < 3; n++) {
    assert.equal(r.ladder.deadline - r.clock.now(), 4000)
    r.clock.go(1000)
    r.heartbeat()
    assert.equal(r.ladder.deadline - r.clock.now(), 2.5 * beat)
    r.clock.go(8000)
    r.ladder.frame()
  }
  assert.equal(r.ladder.deadline - r.clock.now(), 2.5 * beat)
})

test('a heartbeat that ends a pause late was held until the next frame', () => {
  const r = new Rig()
  r.begin()
  r.settling()
  r.clock.go(3600)
  r.heartbeat(2600)
  assert.ok(r.ladder.deadline <= r.clock.now())
  r.late()
  is(r, 'poll', 0)
})

test('a stream whose heartbeats come one interval late gives way to polls', () => {
  const r = new Rig()
  r.begin()
  r.settling()
  for (let n = 0; n < 3; n++) {
    r.clock.go(1000)
    r.ladder.frame()
    r.clock.go(1000)
    r.heartbeat(1000)
  }
  r.clock.go(beat)
  r.heartbeat(beat)
  assert.ok(r.ladder.deadline <= r.clock.now())
  r.late()
  is(r, 'poll', 0)
})

test('if a pause does not end because the network is down, the client stays with streams', () => {
  const r = new Rig()
  r.begin()
  r.settling()
  r.late()
  is(r, 'poll', 0)
  r.end(5)
  assert.equal(r.saved, undefined)
  is(r, 'stream')
})

test('on a slow network the stream gets more time for its frames', () => {
  const r = new Rig()
  r.begin()
  r.settling(2900)
  r.late()
  is(r, 'poll', 0)
  r.page(4000)
  assert.equal(r.saved, undefined)
  is(r, 'stream')
  r.settling()
  assert.equal(r.ladder.deadline - r.clock.now(), 9000)
})

test('a server whose hello has no settle is not expected to end pauses', () => {
  const r = new Rig()
  r.begin()
  r.hello()
  assert.equal(r.ladder.deadline - r.clock.now(), 2.5 * beat)
})
