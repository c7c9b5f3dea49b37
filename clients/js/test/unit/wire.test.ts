// Reading what the server sends: frames, problems, tokens, duplicates, bytes.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createParser } from 'eventsource-parser'
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
  await readStream(new Response(body), ({ id, event, data, retry }) => {
    if (retry) retries.push(+retry)
    if (data !== undefined) got.push({ id, event, data })
  })
  return { got, retries }
}

test('frames are read whole wherever the body is cut into pieces', async () => {
  const text = 'id: l:1\nevent:  spaced\nretry: 1500\ndata: {"ü":"日本"}\n\n:comment\n\nevent: e\ndata: 2\n\nid: l:3\ndata: lost'
  const bytes = new TextEncoder().encode(text)
  for (let i = 0; i <= bytes.length; i++) {
    const { got, retries } = await frames(bytes.subarray(0, i), bytes.subarray(i))
    assert.deepEqual(got.map((f) => [f.id, f.event, f.data]), [['l:1', ' spaced', '{"ü":"日本"}'], [undefined, 'e', '2']])
    assert.deepEqual(retries, [1500])
  }
})

test('frames are the same as eventsource-parser reads, wherever the body is cut', async () => {
  let seed = 1
  const random = (n: number) => (seed = (seed * 48_271) % 0x7fffffff) % n
  const pick = <T>(of: T[]) => of[random(of.length)]!
  const line = () => pick(['', '', ':comment', ': another', 'data', 'data:', 'data: {"a":1}', 'data:x:y', 'data:  ü日', 'event: e',
    'event:', 'id: l:7', 'id', 'retry: 20', 'nonsense', 'nonsense: x', ' data: x'])
  for (let round = 0; round < 2000; round++) {
    const end = pick(['\n', '\r\n'])
    const text = Array.from({ length: random(12) }, line).join(end) + pick(['', end, end + end])
    const bytes = new TextEncoder().encode(text)
    const chunks = []
    for (let i = 0; i < bytes.length; ) chunks.push(bytes.subarray(i, (i += 1 + random(9))))
    const expected: object[] = []
    createParser({ onEvent: ({ id, event, data }) => expected.push({ id, event, data }) }).feed(text)
    const { got } = await frames(...chunks)
    assert.deepEqual(got.map((f) => ({ ...f, event: f.event || undefined })), expected, JSON.stringify(text))
  }
})

test('a frame that the end of the body cuts is ignored', async () => {
  const bytes = new TextEncoder().encode('id: l:1\nevent: e\ndata: {"offset":1}\n\n')
  for (let i = 0; i < bytes.length; i++) assert.deepEqual((await frames(bytes.subarray(0, i))).got, [], `${i} bytes`)
  assert.equal((await frames(bytes)).got.length, 1)
})

test('an answer that is not JSON of Culvert is an error', async () => {
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

test('Retry-After is read in both forms and is at most 5 minutes', async () => {
  const after = async (v: string) =>
    asked(await read(new Response('', { status: 503, headers: { 'Retry-After': v } })).catch((e) => e))
  assert.equal(await after('7'), 7000)
  assert.equal(await after('100000'), 300_000)
  const date = await after(new Date(Date.now() + 60_000).toUTCString())
  assert.ok(date > 50_000 && date <= 60_000, `${date}`)
  for (const v of ['soon', '-3', '']) assert.equal(Math.max(await after(v), 0), 0, v)
})

test('which errors are temporary', () => {
  const e = (status: number, foreign = false) => temporary(new CulvertError('', { status, foreign }))
  assert.ok(temporary(new TypeError('network')))
  for (const s of [0, 408, 429, 500, 503]) assert.ok(e(s), `${s}`)
  for (const s of [400, 401, 403, 404, 409, 410, 413, 422]) assert.ok(!e(s), `${s}`)
  assert.ok(e(403, true))
  assert.ok(!e(413, true))
})

test('handlers get an event once, however often it arrives', () => {
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
  const rewound = createInbox()
  const event = (offset: number) => ({ offset, room: 'r', event: 'e', from: null, at: '' })
  assert.ok(rewound.take(event(10)))
  rewound.gap({ from: 'n:10', to: 'n:9', reason: 'pruned' })
  assert.equal(rewound.take(event(10)), undefined)
  rewound.gap({ from: 'n:10', to: 'n:5', reason: 'rewound' })
  assert.ok(rewound.take(event(6)), 'an event in place of a lost one is new')
  assert.ok(inbox.take(e(1), 'n:1'))
})

test('bytes are encoded and decoded', () => {
  const all = Uint8Array.from({ length: 256 }, (_, i) => i)
  assert.deepEqual(value(payload(all)), all)
  assert.deepEqual(value(payload(all.buffer)), all)
  assert.deepEqual(value(payload(new Uint16Array([1, 2]))), Uint8Array.of(1, 0, 2, 0))
  assert.deepEqual(payload(undefined), { data: null })
  assert.deepEqual(payload([1]), { data: [1] })
})

const jwt = (body: object) => `h.${Buffer.from(JSON.stringify(body)).toString('base64url')}.s`

test('the claims of a JWT are read, and other tokens have none', () => {
  assert.equal(claims(jwt({ sub: 'jürgen???>>>' })).sub, 'jürgen???>>>')
  for (const t of ['', 'key', 'a.b.c', 'a.!!.c']) assert.deepEqual(claims(t), {})
})

/** Credentials on a fake clock; renewals counts the tokens got because one was about to expire. */
function credentials(source: string | (() => Promise<string>)) {
  const clock = new FakeClock()
  const end = new AbortController()
  const told: CulvertError[] = []
  const rig = { clock, end, told, renewals: 0, c: null as any as ReturnType<typeof createCredentials> }
  rig.c = createCredentials(source, clock, end.signal, (e) => told.push(e), async () => rig.renewals++)
  return rig
}

test('callers share one token, which is renewed once and before it expires', async () => {
  let n = 0
  const r = credentials(async () => jwt({ n: ++n, iat: 1000, exp: 1600 }))
  const { c, clock, end } = r
  const [a, b] = await Promise.all([c.get(), c.get()])
  assert.equal(a, b)
  assert.equal(n, 1)
  const [other, same] = await Promise.all([c.get(a), c.get(a)])
  assert.notEqual(other, a)
  assert.equal(other, same)
  assert.equal(n, 2)
  assert.equal(await c.get(a), other, 'a caller with the old token gets the new one')
  await clock.run(569_000, 1000) // of 600 s, by a clock that is wrong by decades
  assert.equal(n, 2)
  await clock.run(2000, 1000)
  assert.deepEqual([n, r.renewals], [3, 1])
  await clock.run(570_000, 1000)
  assert.deepEqual([n, r.renewals], [4, 2])
  end.abort()
  await settle()
  assert.equal(clock.pending, 0)
  await c.get(await c.get())
  assert.equal(clock.pending, 0, 'the same holds after the end')
  assert.equal(await credentials('fixed').c.get('fixed'), 'fixed')
})

test('a JWT that replaces a refused key is renewed before it expires', async () => {
  const tokens = ['opaque', jwt({ n: 1, iat: 1000, exp: 1020 }), jwt({ n: 2, iat: 1000, exp: 1020 }), jwt({ iat: 1020, exp: 1620 })]
  const r = credentials(async () => tokens.shift()!)
  const { c, clock, end } = r
  const first = await c.get()
  await clock.run(1000)
  const second = await c.get(first)
  assert.notEqual(second, first)
  await clock.run(5000, 1000)
  assert.notEqual(await c.get(second), second)
  await clock.run(13_000, 1000) // of 20 s
  assert.equal(r.renewals, 0)
  await clock.run(1000)
  assert.equal(r.renewals, 1)
  end.abort()
  await settle()
  assert.equal(clock.pending, 0)
})

test('a failed renewal is reported, and the next request tries again', async () => {
  const first = jwt({ iat: 1000, exp: 1600 })
  let away = false
  const { c, clock, told, end } = credentials(async () => {
    if (away) throw new Error('away')
    return first
  })
  await c.get()
  away = true
  await clock.run(571_000, 1000)
  assert.equal(told.length, 1)
  await assert.rejects(c.get(), { message: 'no token: away' })
  away = false
  assert.equal(await c.get(), first)
  end.abort()
})

test('the error of a token callback may say when to call it again', async () => {
  const told: number[] = []
  const busy = () => Promise.reject(Object.assign(new Error('busy'), { retryAfter: 7 }))
  const c = createCredentials(busy, new FakeClock(), new AbortController().signal, (e) => told.push(e.retryAfter), async () => {})
  await assert.rejects(c.get(), { message: 'no token: busy', retryAfter: 7 })
  assert.deepEqual(told, [7])
})
