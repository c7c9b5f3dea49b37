import { Address, everyone, lifecycle } from './address.js'
import { payload } from './binary.js'
import { createListeners } from './listeners.js'
import { CulvertError } from './problem.js'
import { createSession, type Owner, type Session } from './session.js'
import type { AnyHandler, Delivery, Events, Handler, Lifecycle, Options, Transport } from './types.js'

type AnyFunction = (...args: any[]) => unknown

/**
 * A client's connection to a namespace, in the shape of a Socket.IO client. It stays
 * one whatever happens to the connections below it.
 */
export class Socket<Listens extends Events = Events, Emits extends Events = Events> extends Address<Emits> {
  /** Whether events can come now. Emitting is possible at any time. */
  connected = false
  /** How they come; undefined before the first connection. */
  transport: Transport | undefined

  #base: URL
  #options: Options
  #session: Session | undefined
  #by = createListeners<AnyFunction>() // of every event: under ''

  /** @internal */
  constructor(url: string | URL, options: Options) {
    super(() => this.#open(), everyone)
    const base = `${url}`.replace(/\/*$/, '/')
    this.#base = new URL(`${base}v1/${encodeURIComponent(options.namespace ?? 'default')}/`, globalThis.location?.href)
    this.#options = options
  }

  /** Connects, unless it is connecting or connected. */
  connect(): this {
    this.#session ??= createSession(this.#base, this.#options, this.#owner)
    return this
  }

  /** Closes; connect opens it again. Events go on waiting on the server. */
  async close(): Promise<void> {
    const session = this.#session
    this.#session = undefined
    this.#lost('closed')
    await session?.close()
  }

  /** Insists on a transport from now on; `auto` finds the best one again. */
  use(transport: 'auto' | Transport): void {
    this.#options = { ...this.#options, transport }
    this.#session?.use(transport)
  }

  /** Calls a handler for each event of this name, or for what happens to the socket. */
  on<E extends keyof Lifecycle>(event: E, handler: Lifecycle[E]): this
  on<E extends keyof Listens & string>(event: E, handler: Handler<Listens[E]>): this
  on(event: string, handler: AnyFunction): this {
    this.#by.add(event, handler)
    return this
  }

  /** The same for the next one only. */
  once<E extends keyof Lifecycle>(event: E, handler: Lifecycle[E]): this
  once<E extends keyof Listens & string>(event: E, handler: Handler<Listens[E]>): this
  once(event: string, handler: AnyFunction): this {
    this.#by.add(event, handler, true)
    return this
  }

  /** Removes a handler, or all of an event. */
  off(event: (keyof Listens & string) | keyof Lifecycle, handler?: AnyFunction): this {
    this.#by.remove(event, handler)
    return this
  }

  /** Calls a handler for each event, whatever its name. */
  onAny(handler: AnyHandler): this {
    this.#by.add('', handler)
    return this
  }

  /** Removes such a handler, or all of them. */
  offAny(handler?: AnyHandler): this {
    this.#by.remove('', handler)
    return this
  }

  /** Joins a room, lastingly: events after the cursor are for this client, until it leaves. */
  join(room: string): Promise<{ cursor: string }> {
    return this.#open().lasting('PUT', `rooms/${encodeURIComponent(room)}/clients/me`)
  }

  /** Leaves a room. */
  leave(room: string): Promise<{ cursor: string }> {
    return this.#open().lasting('DELETE', `rooms/${encodeURIComponent(room)}/clients/me`)
  }

  #owner: Owner = {
    deliver: (d) => this.#deliver(d),
    gap: (gap) => this.#call('gap', gap),
    failed: (e) => this.#fail(e),
    refused: (e) => {
      const session = this.#session
      this.#session = undefined
      void session?.close()
      this.#lost('refused')
      this.#fail(e)
    },
    state: (up, transport) => {
      if (!up) this.#lost('lost')
      if (up && transport !== this.transport) this.#call('transport', (this.transport = transport))
      if (!up || this.connected) return
      this.connected = true
      this.#call('connect')
    },
  }

  #open(): Session {
    if (!this.#session) throw new CulvertError('the socket is closed')
    return this.#session
  }

  #lost(reason: string): void {
    if (!this.connected) return
    this.connected = false
    this.#call('disconnect', reason)
  }

  /** Calls the handlers of a name, and returns what they return. */
  #call(name: string, ...args: unknown[]): unknown[] {
    return this.#by.of(name).map((f) => {
      try {
        return f(...args)
      } catch (error) {
        if (name === 'error') console.error(error)
        else this.#fail(error)
      }
    })
  }

  #fail(error: unknown): void {
    if (!this.#call('error', error).length) console.error(error)
  }

  /** Calls the handlers; the promise is there while they work. */
  #deliver(d: Delivery): Promise<unknown> | undefined {
    const { event, data } = d
    const results = [
      // A name of the socket's own says nothing about the socket when it comes as an event.
      ...(lifecycle.includes(event) ? [] : this.#call(event, data, d)),
      ...(event === 'culvert:reply' ? [] : this.#call('', event, data, d)),
    ]
    const busy = results.some((r) => typeof (r as any)?.then === 'function' || (d.reply && r !== undefined))
    return busy ? this.#finish(d, results) : undefined
  }

  async #finish(d: Delivery, results: unknown[]): Promise<void> {
    const session = this.#session
    const settled = await Promise.all(results.map((r) => Promise.resolve(r).catch((error) => void this.#fail(error))))
    const answer = settled.find((r) => r !== undefined)
    if (!d.reply || answer === undefined || !session) return
    const { clock } = session
    const until = clock.now() + Date.parse(d.reply.until) - clock.wall()
    await session.lasting('POST', 'reply', { offset: d.offset, ...payload(answer) }, until).catch((error) => {
      // Too late, or enough others were faster: nobody waits for it any more.
      if (error?.status !== 410) this.#fail(error)
    })
  }
}

/**
 * Connects to a Culvert server. The token is the only thing it needs; see Options for
 * the rest.
 *
 *     const socket = connect('https://culvert.example', { token })
 *     socket.on('chat message', ({ text }) => show(text))
 *     socket.emit('chat message', { text: 'hi' })
 */
export function connect<Listens extends Events = Events, Emits extends Events = Events>(
  url: string | URL, options: Options,
): Socket<Listens, Emits> {
  return new Socket<Listens, Emits>(url, options).connect()
}
