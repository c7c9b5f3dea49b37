import assert from 'node:assert/strict'
import { test } from 'node:test'
import { memoryVerdicts } from '../../src/index.js'
import { hang, isStream, rig } from './sockets.js'
import { Wire } from './wire.js'

test('a stream is connected with its hello and brings events in order, acknowledged when handled', async () => {
  const { wire, clock, socket, got, told } = rig()
  await clock.run(1)
  assert.equal(socket.connected, true)
  assert.deepEqual(told, ['stream', 'connect'])
  for (const name of ['a', 'b', 'c']) wire.emit(name)
  await clock.run(1)
  assert.deepEqual(got, ['a', 'b', 'c'])
  await clock.run(1000)
  assert.equal(wire.acked, 3)
  assert.equal(wire.count('POST', '/ack'), 1)
})

test('polls that are not held acknowledge the events of earlier ones', async () => {
  const verdicts = memoryVerdicts()
  verdicts.save('http://culvert.test', { transport: 'poll', wait: 0, life: null, retryStreamAt: Infinity, round: 1 })
  const { wire, clock, socket, got } = rig(new Wire(), { verdicts })
  clock.chance = 0.999
  await clock.run(1)
  assert.equal(socket.transport, 'poll')
  for (let n = 1; n <= 20; n++) {
    wire.emit(`e${n}`)
    await clock.run(700, 10)
  }
  await clock.run(7000, 10)
  assert.equal(got.length, 20)
  assert.equal(wire.acked, 20)
  assert.equal(wire.count('POST', '/ack'), 0)
})

test('a control frame of a later server is not an event', async () => {
  const { wire, clock, got, told } = rig()
  await clock.run(1)
  wire.say('event: culvert:later\ndata: {"what":1}\n\n')
  wire.emit('a')
  await clock.run(1)
  assert.deepEqual(got, ['a'])
  assert.deepEqual(told, ['stream', 'connect'])
})

test('behind a proxy that withholds streams a poll follows after 3 s and brings what was missed, once', async () => {
  const wire = new Wire()
  wire.way = (c, o) => (isStream(c) ? hang(o) : undefined)
  const { clock, socket, got, told } = rig(wire)
  await clock.run(1)
  wire.emit('a')
  await clock.run(2999)
  assert.deepEqual(got, [])
  await clock.run(1)
  await clock.run(1)
  assert.deepEqual(got, ['a'])
  assert.equal(socket.transport, 'poll')
  assert.deepEqual(told, ['poll', 'connect'])
  wire.emit('b')
  await clock.run(10)
  assert.deepEqual(got, ['a', 'b'])
  assert.equal(wire.acked >= 1, true, 'the next poll carried the acknowledgement')
  assert.equal(wire.count('POST', '/ack'), 0)
})

test('a change of transport skips no event and repeats none', async () => {
  const { wire, clock, socket, got } = rig()
  await clock.run(1)
  const names = Array.from({ length: 60 }, (_, i) => `e${i}`)
  for (const [i, name] of names.entries()) {
    wire.emit(name)
    if (i % 10 === 5) socket.use(i % 20 === 5 ? 'poll' : 'stream')
    if (i % 7 === 0) wire.cut()
    if (i % 3 === 0) await clock.run(40, 10)
  }
  await clock.run(5000, 100)
  assert.deepEqual(got, names)
})

test('an incomplete frame is ignored, wherever the body ends', async () => {
  const wire = new Wire()
  const { clock, got } = rig(wire)
  await clock.run(1)
  wire.events.push({ offset: 1, room: '*', event: 'whole', data: 'ä', from: null, at: '' })
  const text = wire.frame(wire.events[0])
  const bytes = new TextEncoder().encode(text).length
  for (let i = 0; i < bytes; i += 7) {
    wire.say(text.slice(0, Math.min(i, text.length - 1)))
    wire.cut()
    if (i === 0) wire.way = (c) => { // from now on the server sends no catch-up, only the pieces
      if (isStream(c)) wire.events = []
    }
    await clock.run(2000, 100)
  }
  assert.deepEqual(got, [])
  wire.way = () => {}
  wire.emit('whole')
  await clock.run(2000, 100)
  assert.deepEqual(got, ['whole'])
})

test('a stream is given up after 2.5 silent heartbeats, and the next one catches up', async () => {
  const wire = new Wire()
  const { clock, got, told } = rig(wire)
  await clock.run(1)
  const say = wire.frame
  wire.frame = () => '' // the connection stops forwarding without closing
  wire.emit('a')
  await clock.run(1)
  wire.frame = say
  await clock.run(37_400, 1000)
  assert.deepEqual(got, [])
  await clock.run(200, 10)
  assert.deepEqual(got, ['a'])
  assert.deepEqual(told, ['stream', 'connect'], 'the application sees no disconnect')
})

test('heartbeats move the position and are not acknowledged by themselves', async () => {
  const { wire, clock } = rig()
  await clock.run(1)
  for (let i = 0; i < 5; i++) {
    await clock.run(15_000, 1000)
    wire.say(`id: l:0\nevent: culvert:heartbeat\ndata: {"at":"${new Date(clock.wall()).toISOString()}"}\n\n`)
  }
  await clock.run(1)
  assert.equal(wire.count('GET', '/events'), 1)
  assert.equal(wire.count('POST', '/ack'), 0)
})

test('after culvert:reconnect the client waits as asked and continues from its cursor', async () => {
  const { wire, clock, told } = rig()
  await clock.run(1)
  wire.emit('a')
  wire.say('event: culvert:reconnect\nretry: 2500\ndata: {"reason":"drain","after":2.5}\n\n')
  wire.cut()
  await clock.run(1)
  await clock.run(2400, 100)
  assert.equal(wire.count('GET', '/events'), 1)
  await clock.run(200, 100)
  assert.equal(wire.count('GET', '/events'), 2)
  assert.equal(wire.calls.at(-1)!.headers.get('last-event-id'), 'l:1')
  assert.deepEqual(told, ['stream', 'connect'])
})

test('a gap is reported once; another log starts its own offsets', async () => {
  const { wire, clock, got, told } = rig()
  await clock.run(1)
  for (const name of ['a', 'b']) wire.emit(name)
  await clock.run(1)
  const gap = 'event: culvert:gap\ndata: {"from":"l:2","to":"l:2","reason":"pruned"}\n\n'
  wire.say(gap)
  wire.say(gap)
  await clock.run(1)
  assert.deepEqual(told, ['stream', 'connect', 'gap pruned'])
  wire.log = 'm'
  wire.events = []
  wire.emit('c')
  wire.cut()
  wire.way = (c) => { // the server gives the new log from its beginning
    if (isStream(c)) c.headers.set('last-event-id', 'm:0')
  }
  await clock.run(2000, 100)
  assert.deepEqual(got, ['a', 'b', 'c'])
})

test('a handler that still works is waited for; the event does not come twice meanwhile', async () => {
  const { wire, clock, socket } = rig(new Wire(), { transport: 'poll' })
  let finish!: () => void
  let calls = 0
  socket.on('slow', () => {
    calls++
    return new Promise<void>((r) => (finish = r))
  })
  await clock.run(10)
  wire.emit('slow')
  await clock.run(20_000, 500)
  wire.emit('quick')
  await clock.run(20_000, 500)
  assert.equal(calls, 1)
  assert.equal(wire.acked, 0)
  finish()
  await clock.run(4500, 100)
  assert.equal(wire.acked, 2)
})

test('a refused socket reports it, ends, and can be opened again by connect', async () => {
  const wire = new Wire()
  wire.way = () => new Response('{"title":"no","status":403}', { status: 403, headers: { 'Content-Type': 'application/problem+json' } })
  const { clock, socket, told } = rig(wire)
  await clock.run(60_000, 1000)
  assert.deepEqual(told, [403])
  assert.equal(wire.calls.length, 1)
  assert.throws(() => socket.emit('a'), /closed/)
  wire.way = () => {}
  socket.connect()
  await clock.run(1)
  assert.equal(socket.connected, true)
})

test('the socket reports a lost connection, and the next one', async () => {
  const { wire, clock, told, socket } = rig()
  await clock.run(1)
  wire.way = () => Promise.reject(new TypeError('the network is down'))
  wire.cut()
  await clock.run(60_000, 500)
  assert.equal(socket.connected, false)
  const stored = socket.emit('later')
  wire.way = () => {}
  await clock.run(60_000, 500)
  assert.equal(socket.connected, true)
  assert.equal((await stored).offset, 1)
  assert.deepEqual(told, ['stream', 'connect', 'lost', 'connect'])
})
