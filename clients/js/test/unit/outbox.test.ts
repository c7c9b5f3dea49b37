import 'fake-indexeddb/auto'
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createRetries } from '../../src/backoff.js'
import { idbOutbox } from '../../src/idb.js'
import { createOutbox, memoryOutbox, newKey, type Outcome, type OutboxStore } from '../../src/outbox.js'
import { CulvertError, foreign } from '../../src/problem.js'
import { FakeClock, settle } from './fakes.js'

/** A server that stores each key once, and fails on command. */
class Log {
  stored: { key: string; event: string }[] = []
  requests = 0
  /** Called before and after an event is stored; what it throws is what the client sees. */
  before: (e: any[]) => void = () => {}
  after: () => void = () => {}

  post = async (body: string): Promise<unknown> => {
    this.requests++
    const v = JSON.parse(body)
    const events = v.events ?? [v]
    this.before(events)
    const offsets = events.map((e: any) => {
      const known = this.stored.findIndex((s) => s.key === e.key)
      return 1 + (known >= 0 ? known : this.stored.push(e) - 1)
    })
    this.after()
    const cursor = 'l:' + Math.max(...offsets)
    return v.events ? { offsets, cursor } : { offset: offsets[0], cursor }
  }

  get names() {
    return this.stored.map((s) => s.event)
  }
}

/** Is told how long each request may take. */
let patient: (ms: number) => void = () => {}

function rig(log: Log, store: OutboxStore | Promise<OutboxStore>, limit = 1000) {
  const clock = new FakeClock()
  const end = new AbortController()
  const retries = createRetries(clock, end.signal)
  const refused: CulvertError[] = []
  const told: Outcome[] = []
  const outbox = createOutbox(Promise.resolve(store), limit, retries.persist, {
    post: (body, patience) => {
      patient(patience)
      return log.post(body)
    },
    tell: (o) => told.push(o), refused: (e) => refused.push(e),
  }, end.signal)
  const put = async (event: object, key = newKey()) => ({ ...(await outbox.put(JSON.stringify(event), key)), key })
  return { clock, end, refused, told, outbox, put, retries }
}

const eventually = async (f: () => boolean, clock?: FakeClock) => {
  for (let i = 0; i < 200 && !f(); i++) {
    await new Promise((r) => setTimeout(r, 2))
    clock?.go(1000)
  }
  assert.ok(f())
}

let n = 0
const stores: [string, () => OutboxStore | Promise<OutboxStore>][] = [
  ['memory', memoryOutbox],
  ['IndexedDB', () => idbOutbox('test-' + n++)],
]

for (const [kind, make] of stores) {
  test(`${kind}: events are sent in order, in few requests, and each emit returns its offset`, async () => {
    const log = new Log()
    const { put } = rig(log, make())
    const all = await Promise.all(Array.from({ length: 250 }, (_, i) => put({ event: `e${i}` })))
    assert.deepEqual(log.names, Array.from({ length: 250 }, (_, i) => `e${i}`))
    assert.deepEqual(all.map((r) => r.offset), Array.from({ length: 250 }, (_, i) => i + 1))
    assert.ok(log.requests < 30, `${log.requests} requests`)
  })

  test(`${kind}: a full outbox refuses events until there is room`, async () => {
    const log = new Log()
    log.before = () => {
      throw new TypeError('the network is down')
    }
    const { put, clock } = rig(log, make(), 3)
    const kept = [1, 2, 3].map((i) => put({ event: `e${i}` }))
    await assert.rejects(put({ event: 'too many' }), /full/)
    log.before = () => {}
    await settle()
    await eventually(() => log.stored.length === 3, clock)
    await Promise.all(kept)
    await put({ event: 'e4' })
    assert.deepEqual(log.names, ['e1', 'e2', 'e3', 'e4'])
  })

  test(`${kind}: an event whose answer was lost is stored once`, async () => {
    const log = new Log()
    let lose = 3
    log.after = () => {
      if (lose-- > 0) throw new TypeError('reset')
    }
    const { put, clock } = rig(log, make())
    const all = Promise.all(['a', 'b', 'c'].map((event) => put({ event })))
    await eventually(() => lose < 0, clock)
    assert.deepEqual((await all).map((r) => r.offset), [1, 2, 3])
    assert.deepEqual(log.names, ['a', 'b', 'c'])
  })

  test(`${kind}: a refused event is removed, and only that one`, async () => {
    const log = new Log()
    log.before = (events) => {
      if (events.some((e) => e.event === 'bad')) throw new CulvertError('reserved', { status: 422, field: 'event' })
    }
    const { put, refused } = rig(log, make())
    const [a, bad, b] = ['a', 'bad', 'b'].map((event) => put({ event }))
    await assert.rejects(bad!, { status: 422, field: 'event' })
    await Promise.all([a, b])
    assert.deepEqual(log.names, ['a', 'b'])
    assert.equal(refused.length, 1)
  })

  test(`${kind}: an event stays after a 5xx, a rate limit or a proxy's error, and Retry-After is respected`, async () => {
    const log = new Log()
    const errors: unknown[] = [
      new CulvertError('away', { status: 503, retryAfter: 20 }), new CulvertError('slow', { status: 429 }),
      foreign(403), foreign(200), foreign(511),
    ]
    const count = errors.length
    log.before = () => {
      if (errors.length) throw errors.shift()
    }
    const { put, clock, refused } = rig(log, make())
    const done = put({ event: 'a' })
    await eventually(() => log.requests === 1)
    clock.go(19_000)
    await new Promise((r) => setTimeout(r, 10))
    assert.equal(log.requests, 1)
    await eventually(() => log.stored.length === 1, clock)
    assert.equal((await done).offset, 1)
    assert.equal(log.requests, count + 1)
    assert.equal(refused.length, 0)
  })
}

test('if a page ends before its emits are answered, the next page sends them again, and each is stored once', async () => {
  const log = new Log()
  const name = 'dies'
  const first = rig(log, idbOutbox(name))
  log.after = () => {
    first.end.abort() // the page is gone, the server has it
    throw new TypeError('aborted')
  }
  void first.put({ event: 'a' }).catch(() => {})
  void first.put({ event: 'b' }).catch(() => {})
  void first.put({ event: 'c' }).catch(() => {})
  await eventually(() => first.end.signal.aborted)
  await new Promise((r) => setTimeout(r, 20))
  const before = log.stored.length
  assert.ok(before >= 1 && before <= 3)
  log.after = () => {}
  const second = rig(log, idbOutbox(name))
  second.outbox.start()
  await eventually(() => log.stored.length === 3)
  await second.put({ event: 'd' })
  assert.deepEqual(log.names, ['a', 'b', 'c', 'd'])
  assert.ok(second.told.some((o) => o.receipt), 'other tabs learn that it was stored')
})

test('an event is sent as it was when emit was called', async () => {
  const log = new Log()
  const { put } = rig(log, memoryOutbox())
  const data = { n: 1 }
  const done = put({ event: 'a', data })
  data.n = 2
  await done
  assert.deepEqual((log.stored[0] as any).data, { n: 1 })
})

test('without IndexedDB the outbox is kept in memory', async () => {
  const real = indexedDB.open
  indexedDB.open = () => {
    throw new DOMException('no', 'SecurityError')
  }
  const log = new Log()
  const { put } = rig(log, idbOutbox('forbidden'))
  indexedDB.open = real
  await put({ event: 'a' })
  assert.deepEqual(log.names, ['a'])
})

test('the time limit of a request grows after failures and with its size', async () => {
  const seen: number[] = []
  const log = new Log()
  const { put, clock } = rig(log, memoryOutbox())
  patient = (p) => seen.push(p)
  log.before = () => {
    if (seen.length < 6) throw new TypeError('no answer in time')
  }
  const stored = put({ event: 'e'.repeat(9980) })
  await eventually(() => seen.length > 5, clock)
  await stored
  assert.deepEqual(seen.map((p) => Math.round(p / 1000)), [5, 9, 17, 33, 60, 60])
})

test('a new event does not shorten the delay after a failure', async () => {
  const log = new Log()
  log.before = () => {
    throw new TypeError('away')
  }
  const { put, clock } = rig(log, memoryOutbox())
  for (let n = 0; n < 50; n++) {
    void put({ event: `e${n}` })
    await clock.run(10)
  }
  assert.ok(log.requests < 4, `${log.requests} requests in half a second`)
  log.before = () => {}
  await eventually(() => log.stored.length === 50, clock)
  assert.deepEqual(log.names, Array.from({ length: 50 }, (_, n) => `e${n}`))
})
