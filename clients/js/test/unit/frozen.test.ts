// Tabs whose page the browser kept frozen, and whose channel lost messages meanwhile.
// Node has BroadcastChannel; this file imitates Web Locks and pages.
import assert from 'node:assert/strict'
import { afterEach, test } from 'node:test'
import { connect, memoryOutbox, memoryVerdicts, type Socket } from '../../src/index.js'
import { Wire } from './wire.js'

type Holder = { end: () => void; steal: (e: Error) => void }
let holder: Holder | undefined
const queue: (() => void)[] = []
Object.defineProperty(globalThis, 'navigator', { configurable: true, value: { locks: {
  request: (_: string, o: any, f = o) => new Promise<void>((resolve, reject) => {
    const hold = async () => {
      if (o.signal?.aborted) return next()
      const mine: Holder = (holder = { end: () => {}, steal: reject })
      await f()
      if (holder === mine) next()
      resolve()
    }
    if (o.steal) {
      holder?.steal(new DOMException('stolen', 'AbortError'))
      void hold()
    } else if (holder) {
      queue.push(() => void hold())
      o.signal?.addEventListener('abort', () => reject(o.signal.reason))
    } else void hold()
  }),
} } })
function next(): void {
  holder = undefined
  queue.shift()?.()
}

/** A channel that can be deaf for a while. */
const Real = globalThis.BroadcastChannel
let deaf: object | undefined // the tab that does not hear
let opening: object

const sockets: Socket[] = []
afterEach(async () => {
  for (const s of sockets.splice(0)) await s.close()
  Object.assign(globalThis, { BroadcastChannel: Real })
  delete (globalThis as any).document
  delete (globalThis as any).addEventListener
})

const until = async (f: () => boolean) => {
  for (let i = 0; i < 2000 && !f(); i++) await new Promise((r) => setTimeout(r, 5))
  assert.ok(f())
}

async function tab(wire: Wire) {
  const page = new EventTarget()
  const document = Object.assign(new EventTarget(), { visibilityState: 'visible' })
  const self = { page, document, got: [] as string[], gaps: [] as string[], socket: undefined as unknown as Socket }
  Object.assign(globalThis, {
    document, addEventListener: page.addEventListener.bind(page),
    BroadcastChannel: class extends Real {
      #tab = opening
      override set onmessage(f: any) {
        super.onmessage = (e: any) => this.#tab !== deaf && f(e)
      }
    },
  })
  opening = self
  self.socket = connect('http://frozen.test', {
    token: 't', client: 'me', fetch: wire.fetch, verdicts: memoryVerdicts(), outbox: memoryOutbox(),
  })
  sockets.push(self.socket)
  self.socket.onAny((name) => void self.got.push(name))
  self.socket.on('gap', ({ reason, to }) => void self.gaps.push(`${reason} ${to}`))
  await until(() => self.socket.connected)
  return self
}

const persisted = () => Object.assign(new Event('pageshow'), { persisted: true })

for (const [how, freeze, thaw] of [
  ['pageshow', (t: any) => t.page.dispatchEvent(new Event('pagehide')), (t: any) => t.page.dispatchEvent(persisted())],
  ['resume', () => {}, (t: any) => t.document.dispatchEvent(new Event('resume'))],
  ['visibilitychange', () => {}, (t: any) => t.document.dispatchEvent(new Event('visibilitychange'))],
] as const) {
  test(`a follower that comes back by ${how} gets the events it missed`, async () => {
    const wire = new Wire()
    const a = await tab(wire)
    const b = await tab(wire)
    const names = ['1', '2', '3', '4', '5', '6', '7', '8']
    wire.emit('1')
    await until(() => b.got.length === 1)
    freeze(b)
    deaf = b
    for (const name of names.slice(1, 6)) wire.emit(name)
    await until(() => a.got.length === 6)
    await new Promise((r) => setTimeout(r, 50)) // for the channel to have dropped them
    deaf = undefined
    wire.emit('7') // this event must not make the tab take the missed ones for seen
    await until(() => a.got.length === 7)
    thaw(b)
    await until(() => b.got.length >= 7)
    wire.emit('8')
    await until(() => a.got.length >= 8 && b.got.length >= 8)
    assert.deepEqual([a.got, b.got], [names, names])
    assert.ok(wire.open <= 1, 'one connection for both')
  })
}

for (const [reason, log, kept, busy] of [
  ['log', 'm', 0, true], ['log', 'm', 0, false], ['rewound', 'l', 1, true], ['rewound', 'l', 1, false], ['pruned', 'l', 5, false],
] as const) {
  test(`a follower that was frozen learns of a gap of reason ${reason}, with${busy ? '' : 'out'} events after it`, async () => {
    const wire = new Wire()
    const a = await tab(wire)
    const b = await tab(wire)
    for (const name of ['1', '2', '3', '4', '5']) wire.emit(name)
    await until(() => a.got.length === 5 && b.got.length === 5)
    b.page.dispatchEvent(new Event('pagehide'))
    deaf = b
    wire.log = log
    wire.events.length = kept
    wire.say(`event: culvert:gap\ndata: {"from":"l:5","to":"${log}:${kept}","reason":"${reason}"}\n\n`)
    await until(() => a.gaps.length === 1)
    if (busy) for (const name of ['new 1', 'new 2']) wire.emit(name)
    await until(() => a.got.length === (busy ? 7 : 5))
    await new Promise((r) => setTimeout(r, 50)) // for the channel to have dropped them
    deaf = undefined
    b.page.dispatchEvent(persisted())
    await until(() => b.gaps.length === 1 && b.got.length === a.got.length)
    // The gap is reported once, and tabs that were not frozen get nothing twice.
    for (const t of [a, b]) t.document.dispatchEvent(new Event('resume'))
    wire.emit('last')
    await until(() => a.got.at(-1) === 'last' && b.got.at(-1) === 'last')
    const late = await tab(wire)
    wire.emit('very last')
    await until(() => [a, b, late].every((t) => t.got.at(-1) === 'very last'))
    assert.deepEqual(a.got, ['1', '2', '3', '4', '5', ...(busy ? ['new 1', 'new 2'] : []), 'last', 'very last'])
    assert.deepEqual([b.got, late.got], [a.got, ['very last']])
    assert.deepEqual([a.gaps, b.gaps, late.gaps], [[`${reason} ${log}:${kept}`], [`${reason} ${log}:${kept}`], []])
  })
}

test('a tab that is opened later begins at the position of the leader', async () => {
  const wire = new Wire()
  const a = await tab(wire)
  wire.emit('1')
  await until(() => a.got.length === 1)
  const asked = wire.count('GET', 'events')
  const b = await tab(wire)
  wire.emit('2')
  await until(() => b.got.length === 1)
  b.document.dispatchEvent(new Event('resume'))
  wire.emit('3')
  await until(() => b.got.length === 2)
  assert.deepEqual(b.got, ['2', '3'])
  assert.equal(wire.count('GET', 'events'), asked)
})
