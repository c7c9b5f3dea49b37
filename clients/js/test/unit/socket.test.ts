import assert from 'node:assert/strict'
import { afterEach, test } from 'node:test'
import { connect, memoryOutbox, memoryVerdicts, type Options, type Socket } from '../../src/index.js'
import { FakeClock } from './fakes.js'
import { Wire, type Call } from './wire.js'

let sockets: Socket[] = []
afterEach(async () => {
  for (const s of sockets) await s.close()
  sockets = []
})

async function rig(more: Partial<Options> = {}) {
  const wire = new Wire()
  const clock = new FakeClock()
  const socket = connect('http://culvert.test/prefix/', {
    token: 't', client: 'me', namespace: 'ns', fetch: wire.fetch, clock, verdicts: memoryVerdicts(), ...more,
  })
  sockets.push(socket)
  await clock.run(1)
  const last = (path: string): Call => wire.calls.filter((c) => c.url.pathname === `/prefix/v1/ns/${path}`).at(-1)!
  return { wire, clock, socket, last }
}

test('addresses make requests', async () => {
  const { clock, socket, last } = await rig()
  const emitted = async (f: () => unknown) => {
    void f()
    await clock.run(10)
    const { key, ...rest } = last('emit').body
    return rest
  }
  assert.deepEqual(await emitted(() => socket.emit('e')), { event: 'e', data: null })
  assert.deepEqual(await emitted(() => socket.to('a').emit('e', 1)), { room: 'a', event: 'e', data: 1 })
  assert.deepEqual(await emitted(() => socket.to('a').to(['b', 'c']).except('@me').except('d').emit('e', [])),
    { rooms: ['a', 'b', 'c'], except: ['@me', 'd'], event: 'e', data: [] })
  assert.deepEqual(await emitted(() => socket.to('a').volatile.emit('e')), { room: 'a', event: 'e', data: null, volatile: true })
  assert.deepEqual(await emitted(() => socket.emit('e', new Uint8Array([1, 2, 255]).subarray(1))), { event: 'e', binary: 'Av8=' })
  assert.equal(last('emit').headers.get('authorization'), 'Bearer t')
  assert.deepEqual(await emitted(() => socket.to('').except('').emit('e')), { room: '', except: [''], event: 'e', data: null },
    'the server refuses an empty name: it is not everyone')
  assert.deepEqual(await emitted(() => socket.to(['a', '', 'b']).emit('e')), { rooms: ['a', '', 'b'], event: 'e', data: null })
  const to = socket.to('a')
  to.to('b')
  assert.deepEqual(await emitted(() => to.emit('e')), { room: 'a', event: 'e', data: null }, 'an address does not change')
  assert.throws(() => socket.emit('connect'), /socket itself/)
})

test('a volatile event before the end is sent', async () => {
  const { socket, wire } = await rig()
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

test('a join that failed is tried again as soon as events come', async () => {
  const { clock, socket, wire } = await rig()
  let away = true
  wire.way = () => {
    if (away) throw new TypeError('away')
  }
  wire.cut()
  clock.chance = 0.999
  let joined = false
  void socket.join('a').then(() => (joined = true))
  await clock.run(20_000, 100)
  assert.equal(socket.connected, false)
  away = false
  while (!socket.connected) await clock.run(100)
  await clock.run(100)
  assert.ok(joined)
})

test('join and leave', async () => {
  const { clock, socket, wire } = await rig()
  const path = '/prefix/v1/ns/rooms/a%20%2F%20b/clients/me'
  let fails = 2
  wire.way = () => {
    if (fails-- > 0) throw new TypeError('away')
  }
  let done = false
  void socket.join('a / b').then(() => (done = true))
  await clock.run(5000, 50)
  assert.ok(done)
  const c = wire.calls.filter((c) => c.url.pathname === path).at(-1)!
  assert.equal(c.method, 'PUT')
  await socket.leave('a / b')
  assert.equal(wire.calls.at(-1)!.method, 'DELETE')
})

test('handlers: on, once, off, onAny, and what one of them throws', async () => {
  const { wire, clock, socket } = await rig()
  const calls: string[] = []
  const a = (d: unknown) => void calls.push('a' + d)
  socket.on('e', a).once('e', (d) => void calls.push('b' + d)).on('e', () => {
    throw new Error('mine')
  })
  socket.onAny((name, d) => void calls.push(name + d))
  socket.on('error', (e) => void calls.push(e.message))
  wire.emit('e', { data: 1 })
  await clock.run(1)
  wire.emit('e', { data: 2 })
  await clock.run(1)
  socket.off('e', a)
  wire.emit('e', { data: 3 })
  await clock.run(1)
  socket.off('e').offAny()
  wire.emit('e', { data: 4 })
  await clock.run(1)
  assert.deepEqual(calls, ['a1', 'b1', 'mine', 'e1', 'a2', 'mine', 'e2', 'mine', 'e3'])
})

test('an event with a name of the socket itself tells nothing of the socket', async () => {
  const { wire, clock, socket } = await rig()
  const calls: string[] = []
  for (const name of ['connect', 'disconnect', 'error', 'gap', 'transport'] as const) socket.on(name, () => void calls.push(name))
  socket.onAny((name) => void calls.push('any ' + name))
  for (const name of ['error', 'disconnect', 'culvert:reply']) wire.emit(name)
  await clock.run(1)
  assert.deepEqual(calls, ['any error', 'any disconnect'])
})

test('what handlers return is the reply, sent before the acknowledgement', async () => {
  const { wire, clock, socket, last } = await rig()
  socket.on('sum', async ([a, b]) => a + b)
  socket.on('nothing', async () => {})
  const until = new Date(clock.wall() + 30_000).toISOString()
  wire.emit('nothing', { data: [], reply: { until } })
  wire.emit('sum', { data: [1, 2] })
  await clock.run(10)
  assert.equal(last('reply'), undefined, 'nobody asked, or nothing was said')
  wire.way = (c) => {
    if (c.url.pathname.endsWith('/reply') && wire.count('POST', '/reply') < 3) throw new TypeError('away')
  }
  wire.emit('sum', { data: [3, 4], reply: { until } })
  clock.chance = 0.999
  await clock.run(1200, 10)
  assert.equal(wire.acked, 2)
  await clock.run(10_000, 50)
  assert.deepEqual(last('reply').body, { offset: 3, data: 7 })
  assert.equal(wire.acked, 3)
})

test('emitWithAck: the first answer, several, and none in time', async () => {
  const { wire, clock, socket } = await rig()
  let replies: unknown[] = []
  wire.way = (c) => {
    if (!c.url.searchParams.has('wait') || !c.url.pathname.endsWith('/emit')) return
    if (replies.length < 2) throw new TypeError('cut by a gateway')
    return Response.json({ offset: 1, cursor: 'l:1', replies, complete: true })
  }
  const one = socket.to('@bob').emitWithAck('q', 1)
  const all = socket.to('r').timeout(20_000).emitWithAck('q', 1, { count: 2 })
  await clock.run(2000, 50)
  replies = [{ from: 'bob', data: 42 }, { from: 'eve', binary: 'AQ==' }]
  await clock.run(10_000, 50)
  assert.equal(await one, 42)
  assert.deepEqual(await all, [{ from: 'bob', data: 42 }, { from: 'eve', data: Uint8Array.of(1) }])
  const keys = wire.calls.filter((c) => c.body?.reply?.count === 1).map((c) => c.body.key)
  assert.ok(keys.length > 2 && new Set(keys).size === 1, 'the same key each time')

  wire.way = () => {
    throw new TypeError('away')
  }
  const never = assert.rejects(socket.timeout(500).emitWithAck('late'), /500 ms/)
  void socket.emit('lasting')
  await clock.run(600, 50)
  await never
  wire.calls = []
  wire.way = () => {}
  await clock.run(60_000, 100)
  const sent = wire.calls.filter((c) => c.body?.event || c.body?.events).flatMap((c) => c.body.events ?? [c.body])
  assert.deepEqual(sent.map((e) => e.event), ['lasting'], 'who was told that nobody answers may ask again')
})

test('a full outbox is an error, also for those who do not wait', async () => {
  const { clock, socket, wire } = await rig({ outboxLimit: 2 })
  wire.way = () => {
    throw new TypeError('away')
  }
  const errors: string[] = []
  socket.on('error', (e) => void errors.push(e.message))
  for (const n of [1, 2, 3]) void socket.emit('e', n)
  await clock.run(10)
  assert.equal(errors.length, 1)
  assert.match(errors[0]!, /full: 2 events/)
})

test('an emit is taken as it is, whatever the caller does to it then', async () => {
  const { clock, socket, last } = await rig()
  const data = { n: 1 }
  void socket.emit('e', data)
  data.n = 2
  await clock.run(10)
  assert.deepEqual(last('emit').body.data, { n: 1 })
  const circle: any = {}
  circle.circle = circle
  assert.throws(() => socket.emit('e', circle), TypeError)
})

test('a token callback that fails is asked again when the network comes back', async () => {
  const wire = new Wire()
  const clock = new FakeClock()
  const target = new EventTarget()
  const { addEventListener, removeEventListener } = globalThis as any
  Object.assign(globalThis, {
    addEventListener: target.addEventListener.bind(target), removeEventListener: target.removeEventListener.bind(target),
  })
  try {
    let away = true
    const socket = connect('http://culvert.test/', {
      token: () => (away ? Promise.reject(new Error('away')) : 't'), fetch: wire.fetch, clock, verdicts: memoryVerdicts(),
    })
    socket.on('error', () => {})
    sockets.push(socket)
    clock.chance = 0.999
    await clock.run(20_000, 100)
    away = false
    target.dispatchEvent(new Event('online'))
    await clock.run(1)
    assert.equal(socket.connected, true)
  } finally {
    Object.assign(globalThis, { addEventListener, removeEventListener })
  }
})

test('a token callback that throws at once is called again', async () => {
  let calls = 0
  const { clock, socket } = await rig({
    token: () => {
      if (calls++ < 2) throw new Error('not signed in')
      return 't'
    },
  })
  await clock.run(5000, 100)
  assert.equal(calls, 3)
  assert.equal(socket.connected, true)
})

test('a socket that is closed while its token is renewed receives no more', async () => {
  let give = (_: string) => {}
  let calls = 0
  const { clock, socket, wire } = await rig({
    token: () => (calls++ ? new Promise<string>((r) => (give = r)) : 't'),
  })
  assert.equal(socket.connected, true)
  wire.say('event: culvert:reconnect\ndata: {"after":0,"reason":"expired"}\n\n')
  wire.cut()
  await clock.run(100)
  assert.equal(calls, 2)
  const before = wire.calls.length
  await socket.close()
  give('t')
  await clock.run(5000, 100)
  assert.equal(wire.calls.length, before)
  assert.equal(wire.open, 0)
})

test('to close takes seconds, also where nothing answers any more', async () => {
  const { clock, socket, wire } = await rig()
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

test('what still asks for replies at the end is not sent after it, but by the next page', async () => {
  const outbox = memoryOutbox()
  const { clock, socket, wire } = await rig({ outbox })
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

test('a socket that is closed before it has a token asks for nothing', async () => {
  const wire = new Wire()
  const clock = new FakeClock()
  let token = (_: string) => {}
  const socket = connect('http://culvert.test/', {
    token: () => new Promise((resolve) => (token = resolve)), fetch: wire.fetch, clock, verdicts: memoryVerdicts(),
  })
  const stored = assert.rejects(socket.emit('e'), /closed/)
  await socket.close()
  token('t')
  await clock.run(1000, 100)
  await stored
  assert.deepEqual(wire.calls, [])
})
