// What comes off the wire: parsing, problems, tokens, duplicates, bytes.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { payload, value } from '../../src/binary.js'
import { createInbox } from '../../src/inbox.js'
import { asked, CulvertError, read, temporary } from '../../src/problem.js'
import { readStream } from '../../src/stream.js'
import { claims, createCredentials } from '../../src/token.js'
import { FakeClock, settle } from './fakes.js'

const frames = async (...chunks: Uint8Array[]) => {
  const got: any[] = []
  const retries: number[] = []
  const body = new ReadableStream({
    start(s) {
      for (const c of chunks) s.enqueue(c)
      s.close()
    },
  })
  await readStream(new Response(body), (event, data, id) => got.push({ id, event, data }), (ms) => retries.push(ms))
  return { got, retries }
}

test('frames, cut into bytes at every place', async () => {
  const text = 'id: l:1\nevent:  spaced\nretry: 1500\ndata: {"ü":"日本"}\n\n:comment\n\nevent: e\ndata: 2\n\nid: l:3\ndata: lost'
  const bytes = new TextEncoder().encode(text)
  for (let i = 0; i <= bytes.length; i++) {
    const { got, retries } = await frames(bytes.subarray(0, i), bytes.subarray(i))
    assert.deepEqual(got.map((f) => [f.id, f.event, f.data]), [['l:1', ' spaced', '{"ü":"日本"}'], [undefined, 'e', '2']])
    assert.deepEqual(retries, [1500])
  }
})

test('a body that ends in a frame: what is not complete is not there', async () => {
  const bytes = new TextEncoder().encode('id: l:1\nevent: e\ndata: {"offset":1}\n\n')
  for (let i = 0; i < bytes.length; i++) assert.deepEqual((await frames(bytes.subarray(0, i))).got, [], `${i} bytes`)
  assert.equal((await frames(bytes)).got.length, 1)
})

test('only JSON by Culvert is an answer', async () => {
  const json = { 'Content-Type': 'application/json' }
  const ours = { 'Content-Type': 'application/problem+json' }
  assert.deepEqual(await read(new Response('{"a":1}', { headers: json })), { a: 1 })
  const body = '{"type":"/problems/x","title":"X","detail":"no x","field":"events[3].room","status":422}'
  await assert.rejects(read(new Response(body, { status: 422, headers: ours })),
    { message: 'no x', status: 422, type: '/problems/x', field: 'events[3].room' })
  for (const page of ['<html>pay here</html>', '', '"text"', '{"cut":']) {
    await assert.rejects(read(new Response(page, { headers: json })), { foreign: true, status: 200 })
  }
  await assert.rejects(read(new Response('{}', { status: 403, headers: json })), { foreign: true })
})

test('Retry-After in both forms, and no longer than sense', async () => {
  const after = async (v: string) =>
    asked(await read(new Response('', { status: 503, headers: { 'Retry-After': v } })).catch((e) => e))
  assert.equal(await after('7'), 7000)
  assert.equal(await after('100000'), 300_000)
  const date = await after(new Date(Date.now() + 60_000).toUTCString())
  assert.ok(date > 50_000 && date <= 60_000, `${date}`)
  for (const v of ['soon', '-3', '']) assert.equal(Math.max(await after(v), 0), 0, v)
})

test('what may be tried again', () => {
  const e = (status: number, foreign = false) => temporary(new CulvertError('', { status, foreign }))
  assert.ok(temporary(new TypeError('network')))
  for (const s of [0, 408, 429, 500, 503]) assert.ok(e(s), `${s}`)
  for (const s of [400, 401, 403, 404, 409, 410, 413, 422]) assert.ok(!e(s), `${s}`)
  assert.ok(e(403, true))
  assert.ok(!e(413, true))
})

test('an event comes to handlers once, whatever way it comes again', () => {
  const inbox = createInbox()
  const e = (offset?: number) => ({ ...(offset && { offset }), room: '*', event: 'e', data: 1, from: null, at: '' })
  assert.ok(inbox.take(e(5), 'l:5'))
  assert.equal(inbox.take(e(5), 'l:5'), undefined)
  assert.equal(inbox.take(e(4), 'l:4'), undefined)
  assert.equal(inbox.position, 'l:5')
  assert.ok(inbox.take(e()), 'volatile')
  assert.ok(inbox.take(e()))
  assert.equal(inbox.position, 'l:5')
  assert.ok(inbox.take(e(6)))
  inbox.log('l')
  inbox.log('l')
  assert.equal(inbox.take(e(6)), undefined)
  inbox.log('m')
  assert.ok(inbox.take(e(1), 'm:1'))
  assert.equal(inbox.gap({ from: null, to: 'n:0', reason: 'log' }), true)
  assert.equal(inbox.gap({ from: null, to: 'n:0', reason: 'log' }), false)
  assert.ok(inbox.take(e(1), 'n:1'))
})

test('bytes there and back', () => {
  const all = Uint8Array.from({ length: 256 }, (_, i) => i)
  assert.deepEqual(value(payload(all)), all)
  assert.deepEqual(value(payload(all.buffer)), all)
  assert.deepEqual(value(payload(new Uint16Array([1, 2]))), Uint8Array.of(1, 0, 2, 0))
  assert.deepEqual(payload(undefined), { data: null })
  assert.deepEqual(payload([1]), { data: [1] })
})

const jwt = (body: object) => `h.${Buffer.from(JSON.stringify(body)).toString('base64url')}.s`

test('claims of a JWT, and of what is none', () => {
  assert.equal(claims(jwt({ sub: 'jürgen???>>>' })).sub, 'jürgen???>>>')
  for (const t of ['', 'key', 'a.b.c', 'a.!!.c']) assert.deepEqual(claims(t), {})
})

test('a token is got once for all, renewed once, and before it expires', async () => {
  const clock = new FakeClock()
  let n = 0
  const end = new AbortController()
  const c = createCredentials(async () => jwt({ n: ++n, iat: 1000, exp: 1600 }), clock)
  const [a, b] = await Promise.all([c.get(), c.get()])
  assert.equal(a, b)
  assert.equal(n, 1)
  assert.deepEqual(await Promise.all([c.renew(a), c.renew(a)]), [true, true])
  assert.equal(n, 2)
  let renewed = 0
  void c.watch(async () => renewed++, end.signal)
  await clock.run(569_000, 1000) // of 600 s, by a clock that is wrong by decades
  assert.equal(n, 2)
  await clock.run(2000, 1000)
  assert.deepEqual([n, renewed], [3, 1])
  end.abort()
  await settle()
  assert.equal(clock.pending, 0)
  assert.equal(await createCredentials('fixed', clock).renew('fixed'), false)
})

test('a JWT that came for a refused key is watched from then on', async () => {
  const clock = new FakeClock()
  const end = new AbortController()
  const tokens = ['opaque', jwt({ n: 1, iat: 1000, exp: 1020 }), jwt({ n: 2, iat: 1000, exp: 1020 }), jwt({ iat: 1020, exp: 1620 })]
  const c = createCredentials(async () => tokens.shift()!, clock)
  let renewed = 0
  void c.watch(async () => renewed++, end.signal)
  const first = await c.get()
  await clock.run(1000)
  assert.equal(await c.renew(first), true)
  await clock.run(5000, 1000)
  assert.equal(await c.renew(await c.get()), true)
  await clock.run(13_000, 1000) // of 20 s
  assert.equal(renewed, 0)
  await clock.run(1000)
  assert.equal(renewed, 1)
  end.abort()
  await settle()
  assert.equal(clock.pending, 0)
})

test('what a token callback throws says when to ask again', async () => {
  const told: number[] = []
  const busy = () => Promise.reject(Object.assign(new Error('busy'), { retryAfter: 7 }))
  const c = createCredentials(busy, new FakeClock(), (e) => told.push(e.retryAfter))
  await assert.rejects(c.get(), { message: 'no token: busy', retryAfter: 7 })
  assert.deepEqual(told, [7])
})
