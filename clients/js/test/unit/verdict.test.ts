// What is remembered about a server, and for how long.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { beat, is, Rig } from './rig.js'

test('the stream is tried again at growing intervals, and polls continue', () => {
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
    assert.equal(r.ladder.up, true, 'a failed trial is not a lost connection')
    assert.equal(r.ladder.delay, 0)
    last = r.clock.now()
  }
  assert.ok(pauses[0]! >= 60_000 && pauses[0]! < 90_000, `${pauses}`)
  assert.ok(pauses[1]! >= 120_000 && pauses[8]! >= 3_600_000 && pauses[8]! < 3_700_000, `${pauses}`)
})

test('after a successful trial the verdict is dropped when the stream is 2.5 heartbeats old', () => {
  const r = new Rig().buffered()
  while (r.begin().transport === 'poll') r.page(25_000)
  r.hello()
  assert.equal(r.saved?.transport, 'poll', 'the verdict stays after the first frame')
  for (let n = 0; n < 3; n++) {
    assert.equal(r.saved?.transport, 'poll')
    r.clock.go(beat)
    r.heartbeat()
  }
  assert.equal(r.saved, undefined)
  r.end(100)
  is(r, 'stream')
})

test('a stored verdict is used by the next program, and a failed trial keeps it', () => {
  const first = new Rig().buffered()
  const r = new Rig(first.saved)
  is(r, 'poll', 0)
  r.page()
  is(r, 'poll', 25)
  r.page(25_000)
  r.clock.go(60_000)
  is(r, 'stream')
  r.end(10) // one refusal ends a trial
  is(r, 'poll', 0)
  assert.equal(r.saved!.round, 2)
})
