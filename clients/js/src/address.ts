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
  fling(body: Record<string, unknown>): Promise<Receipt>
  ask(body: Record<string, unknown>, timeout: number): Promise<Reply[]>
}

/** Emits to where it says. Each of its modifiers makes another address. */
export interface Address<Emits extends Events = Events> {
  /** To this room, or these; in addition to those named before. */
  to(room: string | string[]): Address<Emits>
  /** Not to clients in this room, or these; `@me` is this client itself. */
  except(room: string | string[]): Address<Emits>
  /** To those connected now, or to nobody: never stored, never repeated. */
  readonly volatile: Address<Emits>
  /** So many milliseconds for the replies that emitWithAck waits for. Default: 30 s. */
  timeout(ms: number): Address<Emits>
  /**
   * Sends an event: to the rooms of the address, or to everyone. What cannot be sent
   * now waits in the outbox. Resolves when the event is stored; rejects, and raises
   * `error`, when the server refused it. Nobody has to wait for that. Throws a TypeError
   * for data that neither JSON nor bytes can carry.
   */
  emit<E extends keyof Emits & string>(event: E, data?: Emits[E]): Promise<Receipt>
  /**
   * Sends an event that asks for replies: what handlers elsewhere return. Resolves with
   * the data of the first; with `wanted`, with all that came within the timeout.
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
      ...(1 in rooms ? { rooms } : 0 in rooms && { room: rooms[0] }), // '' is a mistake, and not everyone
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
      const receipt = way.volatile ? sender().fling({ ...body, volatile: true }) : sender().put(body)
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
