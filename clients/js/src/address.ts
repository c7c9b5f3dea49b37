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
  /** How many; absent: one from each client that is online. */
  count?: number
}

/** What sends on behalf of an address. */
export interface Sender {
  put(body: Record<string, unknown>): Promise<Receipt>
  emitVolatile(body: Record<string, unknown>): Promise<Receipt>
  ask(body: Record<string, unknown>, timeout: number): Promise<Reply[]>
}

/** Emits to its rooms. Each of its modifiers returns another address. */
export interface Address<Emits extends Events = Events> {
  /** Emits to this room, or these, in addition to those named before. */
  to(room: string | string[]): Address<Emits>
  /** Excludes clients in this room, or these; `@me` is this client itself. */
  except(room: string | string[]): Address<Emits>
  /** Emits only to clients that are connected now: never stored, never repeated. */
  readonly volatile: Address<Emits>
  /** Sets how many milliseconds emitWithAck waits for replies. Default: 30 s. */
  timeout(ms: number): Address<Emits>
  /**
   * Sends an event to the rooms of the address, or to everyone. If it cannot be sent
   * now, it waits in the outbox. Resolves when the event is stored; rejects, and raises
   * `error`, when the server refused it. The promise may be ignored. Throws a TypeError
   * for data that can be sent neither as JSON nor as bytes.
   */
  emit<E extends keyof Emits & string>(event: E, data?: Emits[E]): Promise<Receipt>
  /**
   * Sends an event that asks for replies, which are the values that handlers of other clients return.
   * Resolves with the data of the first reply; with `wanted`, with all replies that came within the timeout.
   */
  emitWithAck<E extends keyof Emits & string>(event: E, data?: Emits[E]): Promise<any>
  emitWithAck<E extends keyof Emits & string>(event: E, data: Emits[E], wanted: Wanted): Promise<Reply[]>
}

export function createAddress(sender: () => Sender, way: Partial<Direction> = {}): Address {
  const { rooms = [], except = [], timeout = 30_000 } = way
  const change = (more: Partial<Direction>) => createAddress(sender, { ...way, ...more })
  const make = (event: string, data: unknown) => {
    if (lifecycle.includes(event)) throw new TypeError(`"${event}" is an event of the socket itself`)
    return {
      ...(1 in rooms ? { rooms } : 0 in rooms && { room: rooms[0] }), // '' must be refused, and not mean everyone
      ...(0 in except && { except }),
      event,
      ...payload(data),
    }
  }
  return {
    to: (room) => change({ rooms: rooms.concat(room) }),
    except: (room) => change({ except: except.concat(room) }),
    get volatile() {
      return change({ volatile: true })
    },
    timeout: (timeout) => change({ timeout }),
    emit(event, data) {
      const body = make(event, data)
      const receipt = way.volatile ? sender().emitVolatile({ ...body, volatile: true }) : sender().put(body)
      receipt.catch(() => {}) // reported as error
      return receipt
    },
    async emitWithAck(event: string, data: unknown, wanted?: Wanted): Promise<any> {
      const reply = { timeout: timeout / 1000, count: wanted ? wanted.count : 1 }
      const replies = await sender().ask({ ...make(event, data), reply }, timeout)
      return wanted ? replies : replies[0]!.data
    },
  }
}

/** Events of the socket itself; the server reserves none of these names. */
export const lifecycle = ['connect', 'disconnect', 'transport', 'gap', 'error']
