import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createSeat, type Seat } from '../../src/leader.js'
import { FakeClock, settle } from './fakes.js'

/** The parts of Web Locks and BroadcastChannel of one origin that a Seat uses. */
class Origin {
  #holder: { reject: (e: unknown) => void } | undefined
  #queue: { run: () => void; gone: boolean }[] = []
  channels = new Set<{ onmessage: any; deaf: boolean }>()

  browser() {
    const own: any[] = []
    return {
      deaf: (v: boolean) => own.forEach((c) => (c.deaf = v)),
      channel: () => {
        const c = {
          onmessage: null as any, deaf: false,
          postMessage: (data: any) => {
            if (c.deaf) return
            const copy = structuredClone(data)
            for (const o of this.channels) if (o !== c && !o.deaf) queueMicrotask(() => o.onmessage?.({ data: copy }))
          },
          close: () => void this.channels.delete(c),
        }
        own.push(c)
        this.channels.add(c)
        return c
      },
      locks: { request: ((_: string, o: LockOptions, f: () => unknown) => this.#request(o, f)) as LockManager['request'] },
    }
  }

  #request(o: LockOptions, f: () => unknown): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const turn = {
        gone: false,
        run: () => {
          const holder = (this.#holder = { reject })
          Promise.resolve(f()).then((v) => {
            if (this.#holder !== holder) return
            this.#holder = undefined
            resolve(v)
            this.#next()
          })
        },
      }
      o.signal?.addEventListener('abort', () => {
        turn.gone = true
        reject(o.signal!.reason)
      })
      if (o.steal) {
        this.#holder?.reject(new DOMException('stolen', 'AbortError'))
        turn.run()
      } else {
        this.#queue.push(turn)
        if (!this.#holder) queueMicrotask(() => this.#next())
      }
    })
  }

  #next(): void {
    if (this.#holder) return
    const turn = this.#queue.shift()
    if (turn && !turn.gone) turn.run()
    else if (turn) this.#next()
  }
}

function tab(origin: Origin, clock: FakeClock) {
  const t = {
    leads: false, heard: [] as unknown[], asked: 0,
    browser: origin.browser(),
    seat: undefined as unknown as Seat,
  }
  t.seat = createSeat('name', t.browser.locks, t.browser.channel(), clock, {
    lead: () => (t.leads = true),
    yield: () => (t.leads = false),
    hear: (m) => t.heard.push(m),
    asked: () => t.asked++,
  })
  t.seat.start()
  return t
}

const leaders = (tabs: { leads: boolean }[]) => tabs.map((t) => +t.leads).join('')

test('one of six leads, and the others hear it', async () => {
  const clock = new FakeClock()
  const origin = new Origin()
  const tabs = Array.from({ length: 6 }, () => tab(origin, clock))
  await clock.run(5000, 100)
  assert.equal(leaders(tabs), '100000')
  tabs[0]!.seat.tell({ event: 1 })
  await settle()
  assert.deepEqual(tabs.map((t) => t.heard.length), [0, 1, 1, 1, 1, 1])
})

test('each time the leader closes, another tab becomes the leader', async () => {
  const clock = new FakeClock()
  const origin = new Origin()
  const tabs = Array.from({ length: 3 }, () => tab(origin, clock))
  await clock.run(100, 50)
  tabs[0]!.seat.close()
  await settle()
  assert.equal(leaders(tabs), '010')
  tabs[1]!.seat.close()
  await settle()
  assert.equal(leaders(tabs), '001')
  await clock.run(100_000, 1000)
  assert.equal(leaders(tabs), '001')
})

test('a frozen leader loses the lead to a tab that asks for it, and follows when it thaws', async () => {
  const clock = new FakeClock()
  const origin = new Origin()
  const [a, b] = [tab(origin, clock), tab(origin, clock)]
  await clock.run(5000, 100)
  a.browser.deaf(true)
  b.seat.ask()
  await clock.run(2900, 100)
  assert.equal(leaders([a, b]), '10')
  await clock.run(200, 100)
  assert.equal(leaders([a, b]), '01')
  a.browser.deaf(false)
  a.seat.ask() // as a page does that becomes visible again
  await clock.run(60_000, 1000)
  assert.equal(leaders([a, b]), '01')
  b.seat.close()
  await settle()
  assert.equal(leaders([a, b]), '10')
})

test('followers ask from time to time, and a leader that answers keeps the lead', async () => {
  const clock = new FakeClock()
  const origin = new Origin()
  const [a, b] = [tab(origin, clock), tab(origin, clock)]
  await clock.run(300_000, 500)
  assert.equal(leaders([a, b]), '10')
  assert.ok(a.asked >= 9, `${a.asked}`)
})

test('a page in the back/forward cache gives up the lead and may take part again', async () => {
  const clock = new FakeClock()
  const origin = new Origin()
  const [a, b] = [tab(origin, clock), tab(origin, clock)]
  await clock.run(100, 50)
  a.seat.stop()
  await settle()
  assert.equal(leaders([a, b]), '01')
  a.seat.start()
  await clock.run(5000, 100)
  assert.equal(leaders([a, b]), '01')
  b.seat.stop()
  await settle()
  assert.equal(leaders([a, b]), '10')
})

test('closed tabs leave no timer', async () => {
  const clock = new FakeClock()
  const origin = new Origin()
  const tabs = [tab(origin, clock), tab(origin, clock)]
  await clock.run(5000, 100)
  for (const t of tabs) t.seat.close()
  await settle()
  assert.equal(clock.pending, 0)
  assert.equal(origin.channels.size, 0)
})
