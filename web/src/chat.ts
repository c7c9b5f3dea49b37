import { connect, idbOutbox, type OutboxStore, type Socket } from '@culvert/client'
import { byId } from './dom.js'
import { type Identity } from './identity.js'
import { Log } from './log.js'
import { Messages } from './messages.js'
import * as network from './network.js'
import { People } from './people.js'
import { roomOf, Rooms, titleOf } from './rooms.js'
import { base, namespace, Server, type Stored } from './server.js'
import { Status } from './status.js'
import { Ticks } from './ticks.js'
import { Typing } from './typing.js'

/** The chat of one person: the socket, and the parts of the page that show what it receives. */
export class Chat {
  readonly socket: Socket
  readonly rooms = new Rooms()
  readonly typing: Typing
  #me: string
  #server: Server
  #outbox: Promise<OutboxStore>
  #by = new Map<string, Messages>()
  #log: Log
  #people: People
  #status: Status
  #ticks: Ticks

  constructor(who: Identity) {
    this.#me = who.client
    this.#server = new Server(who, () => this.#status?.count(this.#server))
    this.#outbox = idbOutbox(`culvert-demo:${this.#me}`).then((store) => watched(store, () => void this.#countWaiting()))
    this.socket = connect(base, {
      namespace, outbox: this.#outbox, fetch: network.gate, token: () => this.#server.token(),
    })
    this.#log = new Log(byId('log'), this.#me)
    this.#people = new People(this.#me)
    this.#status = new Status(this.socket)
    this.#ticks = new Ticks(this.socket, () => this.#show())
    this.typing = new Typing(this.socket, byId('typing'), () => this.#room)
    this.#listen()
    void this.#recall()
  }

  get #room(): string {
    return roomOf(this.rooms.open)
  }

  /** Sends a message to the open room. It is shown at once, and sent as soon as there is a network. */
  send(text: string): void {
    const room = this.#room
    const id = crypto.getRandomValues(new Uint32Array(4)).join('-')
    this.#of(room).wait({ id, text, from: this.#me, at: new Date().toISOString() })
    this.typing.sent()
    this.#log.toEnd()
    this.#show()
    this.socket.to(room).emit('message', { id, text }).catch((error) => {
      if (!error.status) return // the server did not refuse it: it still waits
      this.#of(room).refuse(id, error.message)
      this.#show()
    })
  }

  /** Shows the room of the page's address, and joins it if necessary. */
  async enter(): Promise<void> {
    this.rooms.show()
    byId('title').textContent = this.rooms.open
    document.title = `${this.rooms.open} · Culvert chat`
    this.#log.clear()
    this.typing.clear()
    this.#people.asked()
    this.#people.set([])
    this.#show()
    await this.#refresh()
  }

  /** Leaves the open room, whose messages this client then no longer receives. */
  async leave(): Promise<void> {
    const name = this.rooms.open
    await this.socket.leave(roomOf(name))
    this.#by.delete(roomOf(name))
    this.rooms.remove(name)
  }

  #listen(): void {
    const { socket } = this
    socket.on('message', (_, e) => {
      const name = titleOf(e.room)
      if (!name || !this.#of(e.room).take(e as Stored)) return
      if (e.from !== this.#me) this.rooms.count(name)
      this.typing.done(e.from ?? '')
      if (e.room === this.#room) this.#show()
      if (e.from === this.#me) void this.#ticks.ask(e.room, this.#of(e.room))
    })
    for (const [event, online] of [['culvert:join', true], ['culvert:leave', false]] as const) {
      socket.on(event, ({ client }, e) => {
        if (e.room === this.#room) this.#people.turn(client, online)
        if (online && client !== this.#me) void this.#ticks.ask(e.room, this.#of(e.room))
      })
    }
    socket.on('connect', () => void this.#refresh())
    socket.on('gap', () => void this.#refresh())
    socket.on('error', (error) => console.warn(error.message))
    document.addEventListener('visibilitychange', () => document.hidden || void this.#refresh())
    document.addEventListener('resume', () => void this.#refresh())
  }

  /** Reads the history of the open room; messages that are sent meanwhile come by the socket as well. */
  async #refresh(): Promise<void> {
    const room = this.#room
    if (!this.socket.connected) return
    try {
      await this.socket.join(room)
      this.#people.asked()
      const [history, people, mine] = await Promise.all([
        this.#server.history(room), this.#server.people(room), this.#server.rooms(),
      ])
      for (const e of history) this.#of(room).take(e)
      this.rooms.add(...mine.flatMap((r) => titleOf(r) ?? []))
      if (room !== this.#room) return
      this.#people.set(people)
      this.#show()
      void this.#ticks.ask(room, this.#of(room))
    } catch (error) {
      console.warn(error) // probably the network is down again; the next connection calls this again
    }
  }

  /** Shows messages that an earlier page left in the outbox. */
  async #recall(): Promise<void> {
    for (const { body } of await (await this.#outbox).peek(1000)) {
      const { room, event, data } = JSON.parse(body)
      if (event === 'message') this.#of(room).wait({ ...data, from: this.#me, at: new Date().toISOString() })
    }
    this.#show()
    void this.#countWaiting()
  }

  async #countWaiting(): Promise<void> {
    const items = await (await this.#outbox).peek(1000)
    this.#status.waiting(items.filter(({ body }) => JSON.parse(body).event === 'message').length)
  }

  #of(room: string): Messages {
    const known = this.#by.get(room) ?? new Messages(this.#me)
    this.#by.set(room, known)
    return known
  }

  #show(): void {
    this.#log.show(this.#of(this.#room).all())
  }
}

/** The outbox, calling `changed` after each change. */
function watched(store: OutboxStore, changed: () => void): OutboxStore {
  return {
    ...store,
    add: (item, limit) => store.add(item, limit).finally(changed),
    remove: (keys) => store.remove(keys).finally(changed),
  }
}
