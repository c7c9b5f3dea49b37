// What the ladder makes of things that happen in a row.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Kind } from '../../src/attempt.js'
import { is, polling, Rig } from './rig.js'

test('if connections go silent at 4 s, polls are held for less', () => {
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

test('if streams go silent at once, polls are not shortened', () => {
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

test('the age of an earlier stream that went silent later does not count', () => {
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
  r.end(0, { kind: Kind.ComeBack, after: 0 })
  silentAt(2500)
  silentAt(2100)
  is(r, 'poll', 0)
  r.page()
  is(r, 'poll', 1.7)
})

test('one failed poll is not a lost connection, two in a row are', () => {
  const r = new Rig().buffered()
  for (const fail of [() => r.end(5), () => r.end(5, { kind: Kind.Foreign }), () => r.late()]) {
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

test('one refused stream is not a lost connection, unless nothing has worked yet', () => {
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

test('after each poll without an answer the next gets twice the time, up to 30 s, until an answer arrives', () => {
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
  assert.equal(patience(), 10_000, 'the patience is twice what a request takes')
})

test('after three early cuts polls are shorter than the longest stream, or than the age at which two were cut', () => {
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

test('three streams that were cut within 2 s do not shorten polls, and an earlier series does not count', () => {
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

test('a stream that lived longer, or ended as the server asked, resets the count of early cuts', () => {
  for (const between of [
    () => r.end(12_000), () => r.end(100, { kind: Kind.ComeBack, after: 1 }), () => r.end(12_000, { kind: Kind.Woken }),
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

test('if the poll that tests the network fails, no verdict is stored and the client asks for a stream again', () => {
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

/** Polls until the stream is tried again, which works. */
function trial(r: Rig): void {
  while (r.begin().transport === 'poll') r.page(r.plan.wait * 1000 || 50)
  r.hello()
}

test('when a stream works again after polling, earlier failures do not count', () => {
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
  missed.end(0, { kind: Kind.Woken })
  is(missed, 'poll')
  missed.end(5)
  assert.equal(missed.ladder.up, true)
})

test('a silence between two cuts at the same age means that they do not count together', () => {
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
