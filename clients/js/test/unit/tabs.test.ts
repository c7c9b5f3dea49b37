// Sockets of several tabs, which share one connection. Node has BroadcastChannel; Web
// Locks come with version 24, so this file imitates them.
import assert from 'node:assert/strict'
import { afterEach, test } from 'node:test'
import { connect, memoryOutbox, memoryVerdicts, type Socket } from '../../src/index.js'
import { Wire } from './wire.js'

const held = new Map<string, Promise<unknown>>()
Object.defineProperty(globalThis, 'navigator', { configurable: true, value: { locks: {
  request: (name: string, o: any, f = o) => {
    const before = held.get(name) ?? Promise.resolve()
    const mine = before.then(() => (o.signal?.aborted ? undefined : f()))
    held.set(name, mine.catch(() => {}))
    return mine
  },
} } })

const sockets: Socket[] = []
afterEach(async () => {
  for (const s of sockets.splice(0)) await s.close()
})

function tab(wire: Wire) {
  const got: string[] = []
  const socket = connect('http://tabs.test', {
    token: 't', client: 'me', leader: true, fetch: wire.fetch, verdicts: memoryVerdicts(), outbox: memoryOutbox(),
  })
  sockets.push(socket)
  socket.onAny((name) => void got.push(name))
  return { socket, got }
}

const until = async (f: () => boolean) => {
  for (let i = 0; i < 2000 && !f(); i++) await new Promise((r) => setTimeout(r, 5))
  assert.ok(f())
}

test('six tabs share one stream, and get every event once while the leader changes', async () => {
  const wire = new Wire()
  const tabs = Array.from({ length: 6 }, () => tab(wire))
  await until(() => tabs.every((t) => t.socket.connected))
  assert.equal(wire.open, 1)
  const names: string[] = []
  for (let round = 0; round < 5; round++) {
    for (let i = 0; i < 20; i++) {
      names.push(`e${round}-${i}`)
      wire.emit(names.at(-1)!)
      if (i === 10 && round < 4) void tabs[round]!.socket.close()
    }
    await until(() => tabs.slice(round + 1).every((t) => t.got.length === names.length))
    assert.ok(wire.open <= 1)
  }
  for (const t of tabs.slice(4)) assert.deepEqual(t.got, names)
  await until(() => wire.acked >= 80)
})

test('a follower emits by itself', async () => {
  const wire = new Wire()
  const [a, b] = [tab(wire), tab(wire)]
  await until(() => a.socket.connected && b.socket.connected)
  assert.equal((await b.socket.emit('x')).offset, 1)
})

test('all tabs report that the leader lost its connection and has one again', async () => {
  const wire = new Wire()
  const tabs = [tab(wire), tab(wire), tab(wire)]
  await until(() => tabs.every((t) => t.socket.connected))
  const told: string[] = []
  for (const { socket } of tabs) socket.on('disconnect', (why) => told.push(why)).on('connect', () => told.push('connect'))
  const states: boolean[] = []
  const channel = new BroadcastChannel('culvert:http://tabs.test/v1/default/me')
  channel.onmessage = ({ data }: any) => 'up' in data && states.push(data.up)
  wire.way = () => {
    throw new TypeError('away')
  }
  wire.cut()
  await until(() => told.length === 3)
  assert.deepEqual(told, ['lost', 'lost', 'lost'])
  wire.way = () => {}
  await until(() => told.length === 6 && states.length > 1)
  channel.close()
  assert.deepEqual(told.slice(3), ['connect', 'connect', 'connect'])
  assert.deepEqual(states, [false, true], 'only the leader reports it')
})
