import { payload } from './binary.js'
import type { Events, Receipt, Reply } from './types.js'

/** To whom and how an event goes. */
export interface Direction {
  rooms: readonly string[]
  except: readonly string[]
  volatile: boolean
  /** Milliseconds to wait for replies. */
  timeout: number
}

/** How many replies are wanted. */
export interface Wanted {
  /** So many; absent: one of each client that is there. */
  count?: number
}

/** What sends on behalf of an address. */
export interface Sender {
  put(body: Record<string, unknown>): Promise<Receipt>
  fling(body: Record<string, unknown>): void
  ask(body: Record<string, unknown>, timeout: number): Promise<Reply[]>
}

export const everyone: Direction = { rooms: [], except: [], volatile: false, timeout: 30_000 }

/** Emits to where it says. Each of its modifiers makes another address. */
export class Address<Emits extends Events = Events> {
  /** @internal */
  constructor(private sender: () => Sender, private way: Direction) {}

  /** To this room, or these; in addition to those named before. */
  to(room: string | string[]): Address<Emits> {
    return this.#with({ rooms: this.way.rooms.concat(room) })
  }

  /** Not to clients in this room, or these; `@me` is this client itself. */
  except(room: string | string[]): Address<Emits> {
    return this.#with({ except: this.way.except.concat(room) })
  }

  /** To those connected now, or to nobody: never stored, never repeated. */
  get volatile(): Address<Emits> {
    return this.#with({ volatile: true })
  }

  /** So many milliseconds for the replies that emitWithAck waits for. Default: 30 s. */
  timeout(ms: number): Address<Emits> {
    return this.#with({ timeout: ms })
  }

  /**
   * Sends an event: to the rooms of the address, or to everyone. What cannot be sent
   * now waits in the outbox. Resolves when the event is stored; rejects, and raises
   * `error`, when the server refused it. Nobody has to wait for that.
   */
  emit<E extends keyof Emits & string>(event: E, data?: Emits[E]): Promise<Receipt> {
    const body = this.#body(event, data)
    if (this.way.volatile) {
      this.sender().fling({ ...body, volatile: true })
      return Promise.resolve({})
    }
    const receipt = this.sender().put(body)
    receipt.catch(() => {}) // reported as error
    return receipt
  }

  /**
   * Sends an event that asks for replies: what handlers elsewhere return. Resolves with
   * the data of the first; with `wanted`, with all that came within the timeout.
   */
  emitWithAck<E extends keyof Emits & string>(event: E, data?: Emits[E]): Promise<any>
  emitWithAck<E extends keyof Emits & string>(event: E, data: Emits[E], wanted: Wanted): Promise<Reply[]>
  async emitWithAck(event: string, data?: unknown, wanted?: Wanted): Promise<unknown> {
    const { timeout } = this.way
    const reply = { timeout: timeout / 1000, count: wanted ? wanted.count : 1 }
    const replies = await this.sender().ask({ ...this.#body(event, data), reply }, timeout)
    return wanted ? replies : replies[0]!.data
  }

  #with(more: Partial<Direction>): Address<Emits> {
    return new Address(this.sender, { ...this.way, ...more })
  }

  #body(event: string, data: unknown): Record<string, unknown> {
    if (lifecycle.includes(event)) throw new TypeError(`"${event}" is an event of the socket itself`)
    const { rooms, except } = this.way
    return {
      ...(rooms.length === 1 ? { room: rooms[0] } : rooms.length && { rooms }),
      ...(except.length && { except }),
      event,
      ...payload(data),
    }
  }
}

/** Events of the socket itself; the server reserves none of these names. */
export const lifecycle = ['connect', 'disconnect', 'transport', 'gap', 'error']
