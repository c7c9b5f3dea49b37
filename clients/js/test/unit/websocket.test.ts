import assert from 'node:assert/strict'
import { afterEach, test } from 'node:test'
import { CulvertWebSocket, memoryVerdicts } from '../../src/index.js'
import { Wire } from './wire.js'

let open: CulvertWebSocket[] = []
afterEach(async () => {
  for (const ws of open) if (ws.readyState < 2) ws.close()
  await Promise.all(open.map((ws) => ws.readyState === 3 || on(ws, 'close')))
  open = []
})

const on = (ws: CulvertWebSocket, name: string) =>
  new Promise<any>((resolve) => ws.addEventListener(name, resolve, { once: true }))

function rig(wire = new Wire()) {
  const WebSocket = CulvertWebSocket.with({ fetch: wire.fetch, verdicts: memoryVerdicts(), client: 'me' })
  const ws = new WebSocket('ws://culvert.test/base?room=lobby&access_token=t')
  open.push(ws)
  return { wire, ws }
}

const emits = (wire: Wire) => wire.calls
  .filter((c) => c.url.pathname.endsWith('/emit'))
  .flatMap((c) => c.body.events ?? [c.body])
  .map(({ key, ...rest }) => rest)

test('opens once the room is joined', async () => {
  const { wire, ws } = rig()
  const order: string[] = []
  ws.onopen = () => order.push('onopen')
  ws.addEventListener('open', () => order.push('listener'))
  assert.equal(ws.readyState, CulvertWebSocket.CONNECTING)
  assert.equal(ws.url, 'ws://culvert.test/base?room=lobby&access_token=t')
  assert.throws(() => ws.send('early'), { name: 'InvalidStateError' })
  await on(ws, 'open')
  assert.equal(ws.readyState, ws.OPEN)
  assert.equal(wire.count('PUT', '/base/v1/default/rooms/lobby/clients/me'), 1)
  await Promise.resolve()
  assert.deepEqual(order.sort(), ['listener', 'onopen'])
})

test('sends text, bytes and blobs in order, to the others in the room', async () => {
  const { wire, ws } = rig()
  await on(ws, 'open')
  const view = Uint8Array.of(1, 2, 3).subarray(1)
  ws.send('text')
  ws.send(new Blob([Uint8Array.of(9)]))
  ws.send(view)
  view[0] = 77
  ws.send(Uint8Array.of(5).buffer)
  assert.equal(ws.bufferedAmount, 4 + 1 + 2 + 1)
  while (ws.bufferedAmount) await new Promise((r) => setTimeout(r, 5))
  const way = { room: 'lobby', except: ['@me'], event: 'message' }
  assert.deepEqual(emits(wire), [
    { ...way, data: 'text' }, { ...way, binary: 'CQ==' }, { ...way, binary: 'AgM=' }, { ...way, binary: 'BQ==' },
  ])
})

test('receives the messages of its room in the form that binaryType names', async () => {
  const { wire, ws } = rig()
  await on(ws, 'open')
  const got: any[] = []
  ws.onmessage = (e) => got.push(e.data)
  assert.equal(ws.binaryType, 'blob')
  wire.emit('message', { room: 'elsewhere', data: 'no' })
  wire.emit('other', { room: 'lobby', data: 'no' })
  wire.emit('message', { room: 'lobby', data: 'text' })
  wire.emit('message', { room: 'lobby', data: { a: 1 } })
  wire.emit('message', { room: 'lobby', data: undefined, binary: 'AQI=' })
  while (got.length < 3) await on(ws, 'message')
  ws.binaryType = 'arraybuffer'
  ws.binaryType = 'nonsense' as any
  const last = on(ws, 'message')
  wire.emit('message', { room: 'lobby', data: undefined, binary: 'AQI=' })
  const e: MessageEvent = await last
  assert.equal(e.origin, 'ws://culvert.test')
  assert.deepEqual(got.slice(0, 2), ['text', '{"a":1}'])
  assert.deepEqual(new Uint8Array(await got[2].arrayBuffer()), Uint8Array.of(1, 2))
  assert.ok(got[3] instanceof ArrayBuffer && got[3].byteLength === 2)
})

test('close checks its arguments, sends what is left, fires its event and leaves the room', async () => {
  const { wire, ws } = rig()
  await on(ws, 'open')
  assert.throws(() => ws.close(1001), { name: 'InvalidAccessError' })
  assert.throws(() => ws.close(1000, 'ü'.repeat(62)), { name: 'SyntaxError' })
  ws.send('last')
  let message = false
  ws.onmessage = () => (message = true)
  const closed = on(ws, 'close')
  ws.close(3001, 'enough')
  assert.equal(ws.readyState, ws.CLOSING)
  ws.send('after')
  wire.emit('message', { room: 'lobby', data: 'late' })
  const e = await closed
  assert.deepEqual([e.code, e.reason, e.wasClean, ws.readyState], [3001, 'enough', true, ws.CLOSED])
  assert.equal(message, false)
  assert.deepEqual(emits(wire).map((m) => m.data), ['last'])
  assert.equal(wire.count('DELETE', '/rooms/lobby/clients/me'), 1)
  assert.ok(ws.bufferedAmount > 0, 'data that is sent after close stays in bufferedAmount')
  ws.close() // no more than a no-op
})

test('a refused socket fires error, then a close that is not clean', async () => {
  const wire = new Wire()
  wire.way = () => new Response('{"title":"no"}', { status: 403, headers: { 'Content-Type': 'application/problem+json' } })
  const { ws } = rig(wire)
  const order: string[] = []
  ws.onerror = () => order.push('error')
  const e = await on(ws, 'close').then((e) => {
    order.push('close')
    return e
  })
  assert.deepEqual([e.code, e.wasClean, order[0], order.at(-1)], [1006, false, 'error', 'close'])
})

test('a refused message fires an error, and later messages are sent', async () => {
  const { wire, ws } = rig()
  await on(ws, 'open')
  wire.way = (c) => c.body?.data === 'bad'
    ? new Response('{"title":"no"}', { status: 422, headers: { 'Content-Type': 'application/problem+json' } }) : undefined
  const error = on(ws, 'error')
  ws.send('bad')
  await error
  assert.equal(ws.readyState, ws.OPEN)
  ws.send('good')
  while (ws.bufferedAmount) await new Promise((r) => setTimeout(r, 5))
  assert.equal(emits(wire).at(-1)!.data, 'good')
})

test('a network that goes down closes nothing', async () => {
  const { wire, ws } = rig()
  await on(ws, 'open')
  let closed = false
  ws.onclose = () => (closed = true)
  wire.cut()
  const got = on(ws, 'message')
  wire.emit('message', { room: 'lobby', data: 'after' })
  assert.equal((await got).data, 'after')
  assert.equal(closed, false)
})

test('invalid URLs are refused, and the constants have their values', () => {
  for (const url of [
    'ftp://x/?room=a&access_token=t', 'ws://x/?access_token=t', 'ws://x/?room=a', 'ws://x/?room=a&access_token=t#h',
    ...['ws', 'wss', 'http', 'https'].flatMap((scheme) => ['user:pw', 'user', ':pw'].map((who) => `${scheme}://${who}@x/?room=a&access_token=t`)),
    'ws://x/?room=a&access_token=t&client=bob', 'ws://x/?room=a&access_token=t&namespace=other',
  ]) {
    const wrong = (e: Error) => e.name === 'SyntaxError' && !e.message.includes('pw')
    assert.throws(() => new CulvertWebSocket(url), wrong, url)
    assert.throws(() => new CulvertWebSocket(new URL(url)), wrong, url)
  }
  assert.deepEqual([CulvertWebSocket.CONNECTING, CulvertWebSocket.OPEN, CulvertWebSocket.CLOSING, CulvertWebSocket.CLOSED], [0, 1, 2, 3])
})
