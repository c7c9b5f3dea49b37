// Invalid input is refused at once.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { connect, memoryVerdicts } from '../../src/index.js'
import { online, rig, sockets } from './sockets.js'
import { Wire } from './wire.js'

for (const [what, value] of [
  ['Map', new Map([[1, 2]])], ['Set', new Set([1])], ['Promise', Promise.resolve(1)], ['RegExp', /x/], ['Error', new Error('x')],
  ['Blob', new Blob(['x'])], ['File', new File(['x'], 'x')], ['Function', () => 1], ['Symbol', Symbol('x')], ['BigInt', 1n],
  ['NaN', NaN], ['Infinity', -Infinity], ['Event', new Event('x')], ['Uint8Array', [new Uint8Array(1)]], ['ArrayBuffer', { a: new ArrayBuffer(1) }],
  ['Map', { a: [{ b: new Map() }] }], ['Error', { e: Object.assign(new Error('x'), { code: 1 }) }],
] as const) {
  test(`${what} is refused, not changed: ${String(Object.prototype.toString.call(value))}`, async () => {
    const { socket, wire } = await online()
    const refusal = new RegExp(`TypeError: JSON has no -?${what}: `)
    assert.throws(() => socket.emit('e', value), refusal)
    assert.throws(() => socket.volatile.emit('e', value), refusal)
    await assert.rejects(socket.emitWithAck('e', value), refusal)
    assert.equal(wire.count('POST', 'emit'), 0)
  })
}

test('values that JSON converts are sent as JSON has them', async () => {
  const { socket, wire, clock } = await online()
  class Point {
    x = 1
    get y() {
      return 2
    }
  }
  const data = [
    { when: new Date(0), gone: undefined, in: [undefined], of: Object.create(null), p: new Point(), s: new String('s') }, // eslint-disable-line
    { toJSON: () => 'mine' }, null, true, 'text', 1.5,
  ]
  for (const d of data) void socket.emit('e', d)
  await clock.run(1)
  const sent = wire.calls.filter((c) => c.url.pathname.endsWith('/emit')).flatMap((c) => c.body.events ?? [c.body]).map((e) => e.data)
  assert.deepEqual(sent, [{ when: '1970-01-01T00:00:00.000Z', in: [null], of: {}, p: { x: 1 }, s: 's' }, 'mine', null, true, 'text', 1.5])
})

test('a reply that cannot be sent is an error of the handler', async () => {
  const wire = new Wire()
  const { socket, clock } = rig(wire)
  const errors: string[] = []
  socket.on('error', (e) => errors.push(e.message)).on('ask', () => new Map())
  wire.emit('ask', { reply: { until: '2099-01-01T00:00:00Z' } })
  await clock.run(1)
  assert.match(errors[0]!, /JSON has no Map/)
})

for (const url of [
  'ws://culvert.test', 'wss://culvert.test/', 'ftp://culvert.test', 'culvert.test:8080', 'http://', 'http://user:pw@culvert.test', 'https://user@culvert.test',
  'http://culvert.test/?room=lobby', 'http://culvert.test/#top', '/relative',
]) {
  test(`${url} is refused at once`, () => {
    assert.throws(() => connect(url, { token: 't' }), (e: Error) => e instanceof TypeError && !e.message.includes('pw'))
  })
}

test('a prefix, slashes and an empty query do not matter', async () => {
  for (const url of ['http://culvert.test/prefix', 'http://culvert.test/prefix//', 'http://culvert.test/prefix/?', new URL('http://culvert.test/prefix/')]) {
    const wire = new Wire()
    sockets.push(connect(url, { token: 't', client: 'me', fetch: wire.fetch, verdicts: memoryVerdicts() }))
    for (let n = 0; n < 200 && !wire.calls.length; n++) await new Promise((r) => setTimeout(r, 5))
    assert.equal(wire.calls[0]!.url.pathname, '/prefix/v1/default/events')
  }
})

test('. and .. are not valid names: they would make another path', async () => {
  const { socket, wire } = await online({ client: 'me' })
  const before = wire.calls.length
  for (const name of ['.', '..', '']) {
    await assert.rejects(socket.join(name), /TypeError: "\.*" is not a valid name/)
    await assert.rejects(socket.leave(name), /TypeError: "\.*" is not a valid name/)
    if (name) assert.throws(() => connect('http://culvert.test', { token: 't', namespace: name }), /is not a valid name/)
  }
  assert.equal(wire.calls.length, before)
})
