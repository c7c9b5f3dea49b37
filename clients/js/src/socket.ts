import { createAddress, lifecycle, type Address } from './address.js'
import { payload } from './binary.js'
import { CulvertError } from './problem.js'
import { createSession, type Session } from './session.js'
import type { AnyHandler, Delivery, Events, Handler, Lifecycle, Options, Transport } from './types.js'

/** Returns a name as a part of a path. Refuses names that URL parsers take for steps in the path, in any encoding. */
function segment(name: string): string {
  if (/^\.{0,2}$/.test(name)) throw new TypeError(`"${name}" is not a valid name`)
  return encodeURIComponent(name)
}

type AnyFunction = (...args: any[]) => unknown

/**
 * A client's connection to a namespace, with the interface of a Socket.IO client. It lasts
 * whatever happens to its HTTP connections.
 */
export interface Socket<Listens extends Events = Events, Emits extends Events = Events> extends Address<Emits> {
  /** Whether events can come now. Emitting is possible at any time. */
  connected: boolean
  /** How events come; undefined before the first connection. */
  transport: Transport | undefined
  /** Connects, unless it is connecting or connected. */
  connect(): this
  /** Closes the socket; connect opens it again. The server keeps events meanwhile. */
  close(): Promise<void>
  /** Insists on a transport from now on; `auto` finds the best one again. */
  use(transport: 'auto' | Transport): void
  /** Calls a handler for each event of this name, or for a lifecycle event of the socket. */
  on<E extends keyof Lifecycle>(event: E, handler: Lifecycle[E]): this
  on<E extends keyof Listens & string>(event: E, handler: Handler<Listens[E]>): this
  /** The same for the next one only. */
  once<E extends keyof Lifecycle>(event: E, handler: Lifecycle[E]): this
  once<E extends keyof Listens & string>(event: E, handler: Handler<Listens[E]>): this
  /** Removes a handler, or all of an event. */
  off(event: (keyof Listens & string) | keyof Lifecycle, handler?: AnyFunction): this
  /** Calls a handler for each event, whatever its name. */
  onAny(handler: AnyHandler): this
  /** Removes such a handler, or all of them. */
  offAny(handler?: AnyHandler): this
  /** Joins a room until this client leaves it: events after the cursor are for this client. */
  join(room: string): Promise<{ cursor: string }>
  /** Leaves a room. */
  leave(room: string): Promise<{ cursor: string }>
}

/**
 * Connects to a Culvert server. Only the token is required; see Options for
 * the rest. Throws a TypeError if the URL or the token can never work.
 *
 *     const socket = connect('https://culvert.example', { token })
 *     socket.on('chat message', ({ text }) => show(text))
 *     socket.emit('chat message', { text: 'hi' })
 */
export function connect<Listens extends Events = Events, Emits extends Events = Events>(
  url: string | URL, options: Options,
): Socket<Listens, Emits> {
  const { token } = options
  if (!token || !/^(str|fun)/.test(typeof token)) throw new TypeError('token must be a string, or a function that returns one')
  const at = new URL(`${url}` || '/', globalThis.location?.href)
  if (!/^https?:/.test(at.protocol) || at.username || at.password || at.search || at.hash) {
    throw new TypeError('the URL must be one of http or https, without user, query or fragment')
  }
  const base = new URL(at.pathname.replace(/\/*$/, `/v1/${segment(options.namespace ?? 'default')}/`), at)
  let handlers: { event: string; f: AnyFunction; once: boolean }[] = [] // event '': for every event
  const add = (event: string, f: AnyFunction, once = false) => {
    handlers.push({ event, f, once })
    return socket
  }
  let session: Session | undefined

  const open = () => {
    if (!session) throw new CulvertError('the socket is closed')
    return session
  }
  const member = async (method: string, room: string) => open().lasting(method, `rooms/${segment(room)}/clients/me`)

  const socket: Socket = Object.assign(createAddress(open), {
    connected: false,
    connect() {
      session ??= createSession(base, options, { deliver, gap: (gap) => call('gap', gap), failed: fail, refused, state })
      return socket
    },
    close: () => close('closed'),
    use(transport: 'auto' | Transport) {
      options = { ...options, transport }
      session?.use(transport)
    },
    on: add,
    once: (event: string, f: AnyFunction) => add(event, f, true),
    off(event: string, f?: AnyFunction) {
      handlers = handlers.filter((h) => h.event !== event || (f && h.f !== f))
      return socket
    },
    onAny: (f: AnyHandler) => add('', f),
    offAny: (handler?: AnyHandler) => socket.off('', handler),
    join: (room: string) => member('PUT', room),
    leave: (room: string) => member('DELETE', room),
  }) as any
  return socket.connect() as any

  async function close(reason: string): Promise<void> {
    const was = session
    session = undefined
    lost(reason)
    await was?.close()
  }

  function refused(e: CulvertError): void {
    void close('refused')
    fail(e)
  }

  function state(up: boolean, transport: Transport | undefined): void {
    if (!up) return lost('lost')
    if (transport !== socket.transport) call('transport', (socket.transport = transport))
    if (socket.connected) return
    socket.connected = true
    call('connect')
  }

  function lost(reason: string): void {
    if (!socket.connected) return
    socket.connected = false
    call('disconnect', reason)
  }

  /** Calls the handlers of a name, and returns what they return. */
  function call(name: string, ...args: unknown[]): unknown[] {
    const found = handlers.filter((h) => h.event === name)
    handlers = handlers.filter((h) => h.event !== name || !h.once)
    return found.map(({ f }) => {
      try {
        return f(...args)
      } catch (error) {
        if (name === 'error') console.error(error)
        else fail(error)
      }
    })
  }

  function fail(error: unknown): void {
    if (!call('error', error).length) console.error(error)
  }

  /** Calls the handlers; returns a promise while they work. */
  function deliver(d: Delivery): Promise<unknown> | undefined {
    const { event, data } = d
    const results = [
      // An event with the name of a lifecycle event must not look like one.
      ...(lifecycle.includes(event) ? [] : call(event, data, d)),
      ...(event === 'culvert:reply' ? [] : call('', event, data, d)),
    ]
    if (results.some((r) => r !== undefined)) return finish(d, results)
  }

  async function finish({ reply, offset }: Delivery, results: unknown[]): Promise<void> {
    const s = session
    const settled = await Promise.all(results.map((r) => Promise.resolve(r).catch(fail)))
    const answer = settled.find((r) => r !== undefined)
    if (!reply || answer === undefined || !s) return
    const { clock } = s
    const until = clock.now() + Date.parse(reply.until) - clock.wall()
    try {
      await s.lasting('POST', 'reply', { offset, ...payload(answer) }, until)
    } catch (e) {
      // 410: too late, or enough replies came before, so nobody waits for it any more.
      if ((e as CulvertError).status !== 410) fail(e)
    }
  }
}
