import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createAcker } from '../../src/acker.js'
import { CulvertError } from '../../src/problem.js'
import { FakeClock, settle } from './fakes.js'

function rig(post: (cursor: string) => Promise<unknown> = async () => {}) {
  const clock = new FakeClock()
  const posted: string[] = []
  const acker = createAcker(clock, () => 1000, (cursor) => {
    posted.push(cursor)
    return post(cursor)
  })
  return { clock, posted, acker }
}

const deferred = () => {
  let resolve!: () => void, reject!: (e: unknown) => void
  const promise = new Promise<void>((a, b) => ([resolve, reject] = [a, b]))
  return { promise, resolve, reject }
}

test('many acknowledgements become one request', async () => {
  const { clock, posted, acker } = rig()
  for (let i = 1; i <= 100; i++) acker.track(`l:${i}`)
  assert.deepEqual(posted, [])
  await clock.run(1000)
  assert.deepEqual(posted, ['l:100'])
  await clock.run(10_000)
  assert.equal(posted.length, 1)
  assert.equal(clock.pending, 0)
})

test('an acknowledgement does not pass an event whose handler still runs, and does not wait for one that failed', async () => {
  const { clock, posted, acker } = rig()
  const slow = deferred()
  acker.track('l:1')
  acker.track('l:2', slow.promise)
  acker.track('l:3')
  assert.equal(acker.idle(), false)
  await clock.run(1000)
  assert.deepEqual(posted, ['l:1'])
  slow.reject(new Error('the handler failed'))
  await settle()
  assert.equal(acker.idle(), true)
  await clock.run(1000)
  assert.deepEqual(posted, ['l:1', 'l:3'])
})

test('a heartbeat alone causes no acknowledgement, but moves the cursor of the next one', async () => {
  const { clock, posted, acker } = rig()
  acker.track('l:1', undefined, true)
  await clock.run(5000)
  assert.deepEqual(posted, [])
  acker.track('l:2')
  acker.track('l:3', undefined, true)
  await clock.run(1000)
  assert.deepEqual(posted, ['l:3'])
})

test('an acknowledgement that a poll carried is not sent again', async () => {
  const { clock, posted, acker } = rig()
  acker.track('l:1')
  acker.confirm('l:1')
  await clock.run(1000)
  assert.deepEqual(posted, [])
  acker.track('l:2')
  await clock.run(900)
  acker.confirm('l:2')
  acker.track('l:3')
  await clock.run(900)
  assert.deepEqual(posted, [], 'the newest acknowledgement waits for a poll of its own')
  acker.confirm('l:2') // the answer to an earlier one
  await clock.run(1000)
  assert.deepEqual(posted, ['l:3'])
})

test('a failed acknowledgement is sent again, later and with the newest cursor; a refused one is not', async () => {
  let fail: unknown = new TypeError('the network is down')
  const { clock, posted, acker } = rig(async () => {
    if (fail) throw fail
  })
  acker.track('l:1')
  await clock.run(1000)
  acker.track('l:2')
  await clock.run(1999)
  assert.deepEqual(posted, ['l:1'])
  await clock.run(1)
  assert.deepEqual(posted, ['l:1', 'l:2'])
  fail = new CulvertError('of another log', { status: 409 })
  await clock.run(60_000)
  assert.deepEqual(posted, ['l:1', 'l:2', 'l:2'])
  assert.equal(clock.pending, 0)
})

test('flush sends at once, and a stopped acker sends nothing more', async () => {
  const { clock, posted, acker } = rig()
  acker.track('l:1')
  await acker.flush()
  assert.deepEqual(posted, ['l:1'])
  acker.track('l:2')
  acker.stop()
  await clock.run(60_000)
  assert.deepEqual(posted, ['l:1'])
})
