import assert from 'node:assert/strict'
import { test } from 'node:test'
import { online } from './sockets.js'

test('emits, joins and other calls send the right requests', async () => {
  const { clock, socket, last } = await online()
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
  assert.deepEqual(await emitted(() => to.emit('e')), { room: 'a', event: 'e', data: null }, 'a modifier does not change the address')
  assert.throws(() => socket.emit('connect'), /socket itself/)
})

test('a join that failed is tried again as soon as events come', async () => {
  const { clock, socket, wire } = await online()
  let away = true
  wire.way = ({ url }) => {
    if (away || url.pathname.includes('/rooms/')) throw new TypeError('away')
  }
  wire.cut()
  clock.chance = 0.999
  socket.join('a').catch(() => {})
  await clock.run(20_000, 100)
  assert.equal(socket.connected, false)
  away = false
  let tries = 0
  while (!socket.connected) {
    tries = wire.count('PUT', '/me')
    await clock.run(10)
  }
  assert.equal(wire.count('PUT', '/me'), tries + 1)
})

test('join and leave', async () => {
  const { clock, socket, wire } = await online()
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

test('handlers are added and removed, and one that throws does not stop the others', async () => {
  const { wire, clock, socket } = await online()
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

test('an event from the server with the name of a socket event does not fire the socket event', async () => {
  const { wire, clock, socket } = await online()
  const calls: string[] = []
  for (const name of ['connect', 'disconnect', 'error', 'gap', 'transport'] as const) socket.on(name, () => void calls.push(name))
  socket.onAny((name) => void calls.push('any ' + name))
  for (const name of ['error', 'disconnect', 'culvert:reply']) wire.emit(name)
  await clock.run(1)
  assert.deepEqual(calls, ['any error', 'any disconnect'])
})

test('the value that a handler returns is the reply, sent before the acknowledgement', async () => {
  const { wire, clock, socket, last } = await online()
  socket.on('sum', async ([a, b]) => a + b)
  socket.on('nothing', async () => {})
  const until = new Date(clock.wall() + 30_000).toISOString()
  wire.emit('nothing', { data: [], reply: { until } })
  wire.emit('sum', { data: [1, 2] })
  await clock.run(10)
  assert.equal(last('reply'), undefined, 'no reply: the event did not ask, or the handler returned nothing')
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

test('emitWithAck returns the first reply or several, and fails if none comes in time', async () => {
  const { wire, clock, socket } = await online()
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
  assert.deepEqual(sent.map((e) => e.event), ['lasting'], 'a caller that got no reply may ask again')
})

test('a full outbox raises an error, even if the caller does not wait for the emit', async () => {
  const { clock, socket, wire } = await online({ outboxLimit: 2 })
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

test('a change of the data after emit does not change the event', async () => {
  const { clock, socket, last } = await online()
  const data = { n: 1 }
  void socket.emit('e', data)
  data.n = 2
  await clock.run(10)
  assert.deepEqual(last('emit').body.data, { n: 1 })
  const circle: any = {}
  circle.circle = circle
  assert.throws(() => socket.emit('e', circle), TypeError)
})
