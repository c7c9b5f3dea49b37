// Tokens that are refused, slow, thrown or renewed, as a socket meets them.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { connect, memoryVerdicts } from '../../src/index.js'
import { FakeClock } from './fakes.js'
import { isStream, online, rig, sockets } from './sockets.js'
import { Wire } from './wire.js'

test('a token that is refused is renewed once, then refused for good', async () => {
  const wire = new Wire()
  wire.way = (c) => {
    if (c.headers.get('authorization') === 'Bearer 1') return new Response('', { status: 401 })
    if (c.headers.get('authorization') === 'Bearer 3') return new Response('', { status: 401 })
  }
  let n = 0
  const { socket, clock } = rig(wire, { token: async () => `${++n}` })
  await clock.run(1)
  assert.equal(socket.connected, true)
  assert.equal(n, 2)
})

for (const [who, body, type] of [
  ['the server', '{"title":"busy"}', 'application/problem+json'], ['a proxy', '<h1>Busy</h1>', 'text/html'],
] as const) {
  test(`after a 503 of ${who} the client waits for its Retry-After`, async () => {
    const wire = new Wire()
    wire.way = () => new Response(body, { status: 503, headers: { 'Content-Type': type, 'Retry-After': '20' } })
    const { clock } = rig(wire)
    await clock.run(19_900, 100)
    assert.equal(wire.calls.length, 1)
    await clock.run(6000, 100)
    assert.equal(wire.calls.length, 2)
  })
}

test('a token callback that is slow or fails does not count against the stream', async () => {
  let calls = 0
  const clock = new FakeClock()
  const wire = new Wire()
  const { socket, told } = rig(wire, {
    clock, token: () => {
      if (++calls < 3) return Promise.reject(new Error('no network'))
      return new Promise((resolve) => void clock.after(5000, () => resolve('t')))
    },
  })
  await clock.run(10_000, 100)
  assert.equal(socket.transport, 'stream')
  assert.deepEqual(told, [0, 0, 'stream', 'connect']) // errors without a status
  assert.equal(wire.calls.filter(isStream).length, 1)
})

test('a token callback that failed is called again when the network comes back', async () => {
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
  const { clock, socket } = await online({
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
  const { clock, socket, wire } = await online({
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

test('a socket that is closed before it has a token sends no request', async () => {
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

for (const [what, nothing] of [['undefined', undefined], ['an empty string', ''], ['an object', { token: 't' }]] as const) {
  test(`a token callback that returns ${what} causes an error and is called again`, async () => {
    let calls = 0
    const wire = new Wire()
    const { clock, socket, told } = rig(wire, { token: () => (++calls < 3 ? nothing : 't') as string })
    const errors: string[] = []
    socket.on('error', (e) => errors.push(e.message))
    await clock.run(5000, 100)
    assert.equal(socket.connected, true)
    assert.equal(calls, 3)
    assert.deepEqual(told, [0, 0, 'stream', 'connect'])
    assert.match(errors[0]!, /^no token: .*string/)
    assert.ok(wire.calls.every((c) => c.headers.get('authorization') === 'Bearer t'))
  })
}

test('a token callback that does not return causes an error after 30 s and is called again', async () => {
  let calls = 0
  const wire = new Wire()
  const { clock, socket } = rig(wire, { client: 'me', token: () => (++calls < 2 ? new Promise(() => {}) : 't') })
  const errors: string[] = []
  socket.on('error', (e) => errors.push(e.message))
  await clock.run(29_900, 100)
  assert.deepEqual([calls, errors.length], [1, 0])
  await clock.run(2000, 100)
  assert.match(errors[0]!, /^no token: .*30 s/)
  assert.deepEqual([calls, socket.connected], [2, true])
})

test('a token that is not a string is refused by connect', () => {
  for (const token of [undefined, '', null, 7]) {
    assert.throws(() => connect('http://culvert.test', { token } as any), /TypeError: token/)
  }
})

test('a token that is not valid yet is sent again after Retry-After', async () => {
  const wire = new Wire()
  const clock = new FakeClock()
  const from = clock.now() + 1500
  wire.way = () => {
    if (clock.now() >= from) return
    const headers = { 'Content-Type': 'application/problem+json', 'Retry-After': '2' }
    return new Response('{"title":"not valid yet"}', { status: 401, headers })
  }
  let calls = 0
  const { socket, told } = rig(wire, { clock, token: () => `t${++calls}` })
  const stored = socket.emit('e')
  await clock.run(1900, 100)
  assert.equal(socket.connected, false)
  await clock.run(2000, 100)
  assert.deepEqual(told, ['stream', 'connect'])
  assert.equal(calls, 1, 'another token would become valid even later')
  assert.equal((await stored).offset, 1)
})
