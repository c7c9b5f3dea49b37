// Polls: how long they are held, and how many events they ask for.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Kind } from '../../src/attempt.js'
import { is, polling, Rig } from './rig.js'

test('polls that fail at the same age become shorter than that age, in the end polls that are not held', () => {
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

test('one timeout that a gateway reports is enough for shorter polls', () => {
  const r = new Rig().buffered()
  is(r, 'poll', 25)
  r.end(10_000, { kind: Kind.Foreign, gateway: true })
  assert.equal(r.ladder.delay, 0)
  is(r, 'poll', 0)
  r.page()
  is(r, 'poll', 7)
})

test('one failure of a held poll does not shorten the polls', () => {
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

test('a held poll that is never answered is followed by one that is not held', () => {
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

test('after pages that were cut in the middle polls ask for fewer events, later for more again', () => {
  const r = new Rig().buffered()
  assert.equal(r.begin().limit, 100)
  r.ladder.gotHeaders()
  r.end(10)
  assert.equal(r.begin().limit, 50)
  r.ladder.gotHeaders()
  r.end(10)
  assert.equal(r.begin().limit, 25)
  r.page()
  assert.equal(r.begin().limit, 50)
})

test('the next poll comes at once after more, after a delay if the server asked for one or the page came early and empty', () => {
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

test('a Retry-After of a proxy delays the next poll', () => {
  const r = new Rig().buffered()
  r.begin()
  r.end(5, { kind: Kind.Foreign, after: 8 })
  assert.ok(r.ladder.delay >= 8000 && r.ladder.delay <= 10_000)
  assert.equal(r.ladder.up, false)
  is(r, 'poll', 0)
  r.end(5, { kind: Kind.Foreign })
  assert.ok(r.ladder.delay <= 1000)
})

test('after pages that broke off the next poll comes soon, and only five in a row are a lost connection', () => {
  const r = new Rig().buffered()
  r.clock.chance = 0.999
  const breaks = () => {
    r.begin()
    r.ladder.gotHeaders()
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
  r.ladder.gotHeaders()
  r.end(10, { kind: Kind.Foreign }) // whole, and not Culvert's
  assert.equal(r.begin().limit, 2, 'the next poll does not ask for fewer events')
})

test('pages that broke before a stream worked do not count after it', () => {
  const r = new Rig().buffered()
  const breaks = () => {
    r.begin()
    r.ladder.gotHeaders()
    r.end(10)
  }
  for (let i = 0; i < 4; i++) breaks()
  r.clock.go(120_000)
  is(r, 'stream')
  r.hello()
  r.ladder.force('poll')
  r.end(0, { kind: Kind.Woken })
  for (let i = 0; i < 4; i++) breaks()
  assert.equal(r.ladder.up, true)
})
