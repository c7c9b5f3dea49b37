import assert from 'node:assert/strict'
import { afterEach, test } from 'node:test'
import { connect, memoryVerdicts, type Options, type Socket } from '../../src/index.js'
import { FakeClock } from './fakes.js'
import { Wire } from './wire.js'

let sockets: Socket[] = []
afterEach(async () => {
  for (const s of sockets) await s.close()
  sockets = []
})

function rig(wire = new Wire(), more: Partial<Options> = {}) {
  const clock = (more.clock as FakeClock) ?? new FakeClock()
  const socket = connect('http://culvert.test/', {
    token: 't', client: 'me', fetch: wire.fetch, clock, verdicts: memoryVerdicts(), ...more,
  })
  sockets.push(socket)
  const got: string[] = []
  const told: string[] = []
  socket.onAny((name) => void got.push(name))
  socket.on('connect', () => told.push('connect')).on('disconnect', (why) => told.push(why))
  socket.on('transport', (t) => told.push(t)).on('error', (e) => told.push((e as any).status ?? e.message))
  socket.on('gap', (g) => told.push('gap ' + g.reason))
  return { wire, clock, socket, got, told }
}

/** A signal's promise: what hangs for ever, as in a proxy that withholds. */
const hang = (o: RequestInit) => new Promise<Response>((_, reject) => {
  o.signal?.addEventListener('abort', () => reject(o.signal!.reason))
})

const isStream = (c: { headers: Headers }) => c.headers.get('accept') === 'text/event-stream'

test('a stream: connected with hello, events in order, acknowledged when handled', async () => {
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

test('polls that are not held acknowledge what the ones before brought', async () => {
  const verdicts = memoryVerdicts()
  verdicts.save('http://culvert.test', { transport: 'poll', wait: 0, life: null, again: Infinity, round: 1 })
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

test('a control frame of a later server is no event', async () => {
  const { wire, clock, got, told } = rig()
  await clock.run(1)
  wire.say('event: culvert:later\ndata: {"what":1}\n\n')
  wire.emit('a')
  await clock.run(1)
  assert.deepEqual(got, ['a'])
  assert.deepEqual(told, ['stream', 'connect'])
})

test('a proxy that withholds streams: a poll after 3 s, what was missed at once, nothing twice', async () => {
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

test('a change of transport in the middle skips and doubles nothing', async () => {
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

test('a frame without its end is none, wherever the body ends', async () => {
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

test('silence: given up after 2.5 heartbeats, and caught up with', async () => {
  const wire = new Wire()
  const { clock, got, told } = rig(wire)
  await clock.run(1)
  const say = wire.frame
  wire.frame = () => '' // the way stops forwarding without closing
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

test('culvert:reconnect: after so many seconds, from the cursor', async () => {
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

test('a gap is told once; another log counts anew', async () => {
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

test('a cache that answers polls from memory, a way that drops headers: asked otherwise', async () => {
  for (const kind of ['cache', 'header'] as const) {
    const wire = new Wire()
    ;(globalThis as any).location = new URL('http://page.test/') // another origin: the URL is constant
    const answers = new Map<string, string>()
    wire.way = async (c, o) => {
      if (kind === 'header') c.headers.delete('last-event-id')
      if (kind === 'header' || !c.url.pathname.endsWith('/events')) return
      const known = answers.get(c.url.href)
      if (known) return Response.json(JSON.parse(known))
      const answer = await wire.serve(c, o)
      answers.set(c.url.href, await answer.clone().text())
      return answer
    }
    const { clock, got } = rig(wire, { transport: 'poll' })
    await clock.run(100, 10)
    delete (globalThis as any).location
    const names = ['a', 'b', 'c', 'd', 'e']
    for (const name of names) {
      wire.emit(name)
      await clock.run(3000, 100)
    }
    assert.deepEqual(got, names, kind)
    const polls = wire.count('GET', '/events')
    assert.ok(polls < 30, `${polls} polls by ${kind}`)
  }
})

test('across origins the URL stays as it is, so that permission is asked for once', async () => {
  ;(globalThis as any).location = new URL('http://page.test/')
  const { wire, clock } = rig()
  await clock.run(1)
  delete (globalThis as any).location
  for (let i = 0; i < 5; i++) {
    wire.emit('a')
    await clock.run(1)
    wire.cut()
    await clock.run(2000, 100)
  }
  const urls = new Set(wire.calls.filter(isStream).map((c) => c.url.href))
  assert.equal(urls.size, 1)
})

test('refused: told, ended, and opened again by hand', async () => {
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
  test(`busy: what Retry-After of ${who} says is waited for`, async () => {
    const wire = new Wire()
    wire.way = () => new Response(body, { status: 503, headers: { 'Content-Type': type, 'Retry-After': '20' } })
    const { clock } = rig(wire)
    await clock.run(19_900, 100)
    assert.equal(wire.calls.length, 1)
    await clock.run(6000, 100)
    assert.equal(wire.calls.length, 2)
  })
}

test('lost when nothing gets through, and found again', async () => {
  const { wire, clock, told, socket } = rig()
  await clock.run(1)
  wire.way = () => Promise.reject(new TypeError('the network is away'))
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

test('closed: no request any more, and none left open', async () => {
  const { wire, clock, socket, told } = rig()
  await clock.run(1)
  await socket.close()
  const calls = wire.calls.length
  await clock.run(100_000, 1000)
  assert.equal(wire.calls.length, calls)
  assert.equal(wire.open, 0)
  assert.equal(clock.pending, 0)
  assert.deepEqual(told, ['stream', 'connect', 'closed'])
})

test('a stream that begins elsewhere than asked, a poll that was not held: asked otherwise', async () => {
  for (const transport of ['stream', 'poll'] as const) {
    const wire = new Wire()
    ;(globalThis as any).location = new URL('http://page.test/')
    wire.way = (c) => {
      if (c.url.searchParams.has('_') || !c.headers.has('last-event-id')) return
      if (isStream(c)) c.headers.delete('last-event-id')
      else return Response.json({ events: [], cursor: c.headers.get('last-event-id'), more: false })
    }
    const { clock, got } = rig(wire, { transport })
    await clock.run(100, 10)
    delete (globalThis as any).location
    const names = ['a', 'b', 'c']
    for (const name of names) {
      wire.emit(name)
      wire.cut()
      await clock.run(3000, 100)
    }
    assert.deepEqual(got, names, transport)
    const last = wire.calls.filter((c) => c.url.pathname.endsWith('/events')).at(-1)!
    assert.equal(last.url.searchParams.get('after'), 'l:3')
  }
})

test('how long a token takes is not held against the stream, nor that it fails', async () => {
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
