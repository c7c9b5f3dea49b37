// The end of a socket: what is sent before it, and nothing after.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { memoryOutbox } from '../../src/index.js'
import { settle } from './fakes.js'
import { online, rig } from './sockets.js'

test('a closed socket sends no request and leaves none open', async () => {
  const { wire, clock, socket, told } = rig()
  await clock.run(1)
  await socket.close()
  await settle()
  assert.equal(clock.pending, 0)
  const calls = wire.calls.length
  await clock.run(100_000, 1000)
  assert.equal(wire.calls.length, calls)
  assert.equal(wire.open, 0)
  assert.deepEqual(told, ['stream', 'connect', 'closed'])
})

test('a volatile event that was emitted before close is sent', async () => {
  const { socket, wire } = await online()
  let aborted: boolean | undefined
  wire.way = async ({ url }, { signal }) => {
    if (!url.pathname.endsWith('/emit')) return
    await new Promise((r) => setTimeout(r, 20))
    aborted = signal!.aborted
  }
  void socket.volatile.emit('bye')
  await socket.close()
  await new Promise((r) => setTimeout(r, 40))
  assert.equal(wire.count('POST', '/emit'), 1)
  assert.equal(aborted, false)
})

test('close takes seconds, even if the server no longer answers', async () => {
  const { clock, socket, wire } = await online()
  wire.way = ({ url }, o) => {
    if (!url.pathname.endsWith('/ack')) return
    return new Promise((_, reject) => o.signal!.addEventListener('abort', () => reject(o.signal!.reason)))
  }
  wire.emit('a')
  await clock.run(120_000, 1000)
  wire.emit('b')
  await clock.run(1)
  let closed = false
  void socket.close().then(() => (closed = true))
  await clock.run(5001, 100)
  assert.ok(closed)
  const before = wire.calls.length
  await clock.run(60_000, 1000)
  assert.equal(wire.calls.length, before)
  assert.equal(clock.pending, 0)
})

test('an event that still waits for replies at close is not sent after it, but by the next page', async () => {
  const outbox = memoryOutbox()
  const { clock, socket, wire } = await online({ outbox })
  wire.way = ({ url }) => {
    if (url.pathname.endsWith('/emit')) throw new TypeError('away')
  }
  const asked = socket.emitWithAck('question')
  await clock.run(100)
  await socket.close()
  wire.way = () => {}
  const before = wire.count('POST', '/emit')
  await assert.rejects(asked, /the socket is closed/)
  await clock.run(40_000, 1000)
  assert.equal(wire.count('POST', '/emit'), before)
  assert.equal((await outbox.peek(9)).length, 1)
})
