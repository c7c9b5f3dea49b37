// Sockets on a fake clock and a wire, closed when their test has ended.
import { afterEach } from 'node:test'
import { connect, memoryVerdicts, type Options, type Socket } from '../../src/index.js'
import { FakeClock } from './fakes.js'
import { Wire, type Call } from './wire.js'

export const sockets: Socket[] = []
afterEach(async () => {
  for (const s of sockets.splice(0)) await s.close()
})

function open(url: string, clock: FakeClock, wire: Wire, more: Partial<Options>): Socket {
  const socket = connect(url, { token: 't', client: 'me', fetch: wire.fetch, clock, verdicts: memoryVerdicts(), ...more })
  sockets.push(socket)
  return socket
}

/** A socket that has only begun to connect, with the events it gets and reports. */
export function rig(wire = new Wire(), more: Partial<Options> = {}) {
  const clock = (more.clock as FakeClock) ?? new FakeClock()
  const socket = open('http://culvert.test/', clock, wire, more)
  const got: string[] = []
  const told: string[] = []
  socket.onAny((name) => void got.push(name))
  socket.on('connect', () => told.push('connect')).on('disconnect', (why) => told.push(why))
  socket.on('transport', (t) => told.push(t)).on('error', (e) => told.push((e as any).status ?? e.message))
  socket.on('gap', (g) => told.push('gap ' + g.reason))
  return { wire, clock, socket, got, told }
}

/** A connected socket, below a prefix and in a namespace, that reports nothing. */
export async function online(more: Partial<Options> = {}) {
  const wire = new Wire()
  const clock = new FakeClock()
  const socket = open('http://culvert.test/prefix/', clock, wire, { namespace: 'ns', ...more })
  await clock.run(1)
  const last = (path: string): Call => wire.calls.filter((c) => c.url.pathname === `/prefix/v1/ns/${path}`).at(-1)!
  return { wire, clock, socket, last }
}

/** A request that hangs until its signal aborts, as behind a proxy that holds answers back. */
export const hang = (o: RequestInit) => new Promise<Response>((_, reject) => {
  o.signal?.addEventListener('abort', () => reject(o.signal!.reason))
})

export const isStream = (c: { headers: Headers }) => c.headers.get('accept') === 'text/event-stream'
