import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { connect, CulvertWebSocket, memoryVerdicts, type Options, type Socket } from '@culvert/client'
import { proxy } from './proxy.js'
import { apiKey, Server, token } from './server.js'

let server: Server
const open = new Set<Socket>()

before(async () => {
  server = await new Server(['--heartbeat', '1']).start()
})

after(async () => {
  for (const s of open) await s.close()
  await server?.remove()
})

function client(name: string, more: Partial<Options> = {}): Socket {
  const s = connect(server.url, { token: token(name), verdicts: memoryVerdicts(), ...more })
  open.add(s)
  return s
}

const event = (s: Socket, name: string) => new Promise<any>((resolve) => s.once(name, resolve))
const connected = async (s: Socket) => s.connected || event(s, 'connect')

/** Collects what comes, and waits until there is so much of it. */
function inbox(s: Socket, name: string) {
  const got: any[] = []
  let check = () => {}
  s.on(name, (data: any) => {
    got.push(data)
    check()
  })
  return {
    got,
    has: (n: number) => new Promise<void>((resolve) => {
      check = () => got.length >= n && resolve()
      check()
    }),
  }
}

for (const transport of ['stream', 'poll'] as const) {
  test(`rooms, order and binary by ${transport}`, async () => {
    const [a, b] = [client('a-' + transport, { transport }), client('b-' + transport, { transport })]
    const room = 'room-' + transport
    await b.join(room)
    await Promise.all([connected(a), connected(b)])
    assert.equal(b.transport, transport)
    const box = inbox(b, 'n')
    for (let i = 0; i < 200; i++) void a.to(room).emit('n', i)
    await box.has(200)
    assert.deepEqual(box.got, Array.from({ length: 200 }, (_, i) => i))
    const bytes = event(b, 'bytes')
    const receipt = await a.to(room).emit('bytes', Uint8Array.of(0, 255, 7))
    assert.ok(receipt.offset! > 0)
    assert.deepEqual(await bytes, Uint8Array.of(0, 255, 7))
    await b.leave(room)
    void a.to(room).emit('n', 'not for b')
    const own = event(b, 'own')
    await a.to('@b-' + transport).emit('own')
    assert.equal(await own, null)
    assert.equal(box.got.length, 200)
  })

  test(`no event is lost or repeated when the server restarts, by ${transport}`, async () => {
    const [a, b] = [client('ra-' + transport, { transport }), client('rb-' + transport, { transport })]
    await Promise.all([connected(a), connected(b)])
    const box = inbox(b, 'n')
    let sent = 0
    const send = (n: number) => {
      for (; n > 0; n--) void a.to('@rb-' + transport).emit('n', sent++)
    }
    send(50)
    await box.has(10)
    await server.stop('SIGKILL')
    send(50)
    await server.start()
    send(50)
    await box.has(150)
    assert.deepEqual(box.got, Array.from({ length: 150 }, (_, i) => i))
  })
}

test('an event that was handled does not come again, one that was not does', async () => {
  const first = client('acks')
  await connected(first)
  const done = event(first, 'one')
  let never = false
  first.on('two', () => {
    never = true
    return new Promise(() => {})
  })
  const sender = client('sender')
  await sender.to('@acks').emit('one')
  await sender.to('@acks').emit('two')
  await sender.to('@acks').emit('three')
  await done
  while (!never) await event(first, 'three')
  await first.close()
  const second = client('acks')
  const names: string[] = []
  second.onAny((name) => void names.push(name))
  await event(second, 'three')
  assert.deepEqual(names, ['two', 'three'])
})

test('a token is renewed while the stream is open, and a refused one once', async () => {
  let made = 0
  const s = client('renewing', { token: () => token('renewing', ++made === 1 ? 3 : 600) })
  let lost = 0
  s.on('disconnect', () => lost++)
  await connected(s)
  const streams: string[] = []
  s.on('transport', (t) => void streams.push(t))
  await new Promise((r) => setTimeout(r, 4500)) // past the first token's end
  assert.equal(made, 2)
  const got = event(s, 'after')
  await s.to('@renewing').emit('after', 1)
  assert.equal(await got, 1)
  assert.equal(lost, 0)
  assert.deepEqual(streams, [])

  let calls = 0
  const bad = client('bad', { token: () => ++calls > 1 ? token('bad') : 'no token at all' })
  await connected(bad)
  assert.equal(calls, 2)
  const refused = client('refused', { token: 'no token at all' })
  assert.equal((await event(refused, 'error')).status, 401)
})

test('a volatile event reaches connected clients', async () => {
  const [a, b] = [client('va'), client('vb')]
  await Promise.all([connected(a), connected(b)])
  const got = event(b, 'typing')
  await a.to('@vb').volatile.emit('typing', true)
  assert.equal(await got, true)
})

test('an event that is not allowed is reported, and later ones are sent', async () => {
  const s = client('errors')
  const error = event(s, 'error')
  const [bad, good] = [s.to('x').emit('culvert:forged'), s.to('x').emit('fine')]
  await assert.rejects(bad, { status: 422 })
  assert.ok((await good).offset)
  assert.equal((await error).status, 422)
})

test('an API key acts for a client', async () => {
  const s = client('', { token: apiKey, client: 'worker' })
  await connected(s)
  const got = event(s, 'job')
  await s.to('@worker').emit('job', 1)
  assert.equal(await got, 1)
})

test('handlers reply, and the emitter gets what they return', async () => {
  const [a, b, c] = [client('asker'), client('replier-b'), client('replier-c')]
  b.on('sum', ([x, y]) => x + y)
  c.on('sum', async ([x, y]) => new Uint8Array([x, y]))
  await Promise.all([b.join('sums'), c.join('sums')])
  await Promise.all([a, b, c].map(connected))
  assert.equal(await a.to('@replier-b').emitWithAck('sum', [1, 2]), 3)
  const all = await a.to('sums').emitWithAck('sum', [3, 4], {})
  all.sort((x, y) => (x.from! < y.from! ? -1 : 1))
  assert.deepEqual(all, [{ from: 'replier-b', data: 7 }, { from: 'replier-c', data: Uint8Array.of(3, 4) }])
  await assert.rejects(a.to('@nobody-there').timeout(300).emitWithAck('sum', [1, 2]), /300 ms/)
})

test('two WebSockets talk', async () => {
  const make = (name: string) => {
    const WebSocket = CulvertWebSocket.with({ token: token(name), verdicts: memoryVerdicts() })
    return new WebSocket(server.url.replace('http', 'ws') + '/?room=ws')
  }
  const [a, b] = [make('ws-a'), make('ws-b')]
  const on = (ws: CulvertWebSocket, name: string) => new Promise<any>((r) => ws.addEventListener(name, r, { once: true }))
  await Promise.all([on(a, 'open'), on(b, 'open')])
  a.onmessage = ({ data }) => a.send('not to myself: ' + data)
  b.binaryType = 'arraybuffer'
  const got: unknown[] = []
  b.onmessage = ({ data }) => got.push(data)
  b.send('hi')
  await on(b, 'message')
  a.send(Uint8Array.of(1, 2))
  await on(b, 'message')
  assert.deepEqual(got, ['not to myself: hi', Uint8Array.of(1, 2).buffer])
  const closed = [on(a, 'close'), on(b, 'close')]
  a.close(1000, 'bye')
  b.close()
  assert.deepEqual((await Promise.all(closed)).map((e) => e.code), [1000, 1005])
})

for (const [kind, want] of [['withholds', 'poll'], ['kills', 'poll'], ['resets', undefined]] as const) {
  test(`a proxy that ${kind}: no event is lost, repeated or out of order in either direction`, async () => {
    const way = await proxy(new URL(server.url), kind)
    const near = client('near-' + kind)
    const far = connect(way.url, { token: token('far-' + kind), verdicts: memoryVerdicts() })
    try {
      await connected(near)
      await far.join('far') // known to the server before the first event
      const [down, up] = [inbox(far, 'n'), inbox(near, 'n')]
      const want100 = Array.from({ length: 100 }, (_, i) => i)
      for (const i of want100) {
        void near.to('@far-' + kind).emit('n', i)
        void far.to('@near-' + kind).emit('n', i)
        await new Promise((r) => setTimeout(r, 60))
      }
      await Promise.all([down.has(100), up.has(100)])
      assert.deepEqual(down.got, want100)
      assert.deepEqual(up.got, want100)
      if (want && far.transport !== want) assert.equal(await event(far, 'transport'), want)
    } finally {
      await far.close()
      await way.close()
    }
  })
}
