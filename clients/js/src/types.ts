import type { Clock } from './clock.js'
import type { Verdicts } from './verdict.js'
import type { OutboxStore } from './outbox.js'
import type { CulvertError } from './problem.js'

/** Events by name, with the type of their data: the type parameters of a Socket. */
export type Events = Record<string, any>

/** An event as it was received. */
export interface Delivery<Data = any> {
  /** Position in the log; absent from volatile events, which are not stored. */
  offset?: number
  room: string
  event: string
  /** What was sent; a Uint8Array when that was binary. */
  data: Data
  /** The client that sent it; null for a backend. */
  from: string | null
  /** When it was stored, RFC 3339. */
  at: string
  /** Present when the sender asks for replies: what a handler returns becomes one. */
  reply?: { until: string }
}

/** Called with an event's data. A promise delays the acknowledgement until it is settled. */
export type Handler<Data = any> = (data: Data, event: Delivery<Data>) => unknown

/** Called with every event, also with those that have the name of a lifecycle event. */
export type AnyHandler = (event: string, data: any, delivery: Delivery) => unknown

/** The way events come at present. */
export type Transport = 'stream' | 'poll'

/** Events that are gone: those after `from` up to `to`. */
export interface Gap {
  from: string | null
  to: string
  /**
   * Retention passed them; or the server has another log now, or one that lost its end in
   * a restore; or what is stored is no event.
   */
  reason: 'pruned' | 'log' | 'rewound' | 'unreadable'
}

/** What a socket tells of itself. */
export interface Lifecycle {
  /** Events can come now. */
  connect: () => void
  /** They cannot; the socket goes on trying unless it was closed or refused. */
  disconnect: (reason: 'lost' | 'closed' | 'refused') => void
  /** They come another way than before. */
  transport: (transport: Transport) => void
  gap: (gap: Gap) => void
  /** An emit or the connection was refused, or a handler failed. */
  error: (error: CulvertError | Error) => void
}

/** Where an emit was stored. Both are absent for volatile events. */
export interface Receipt {
  offset?: number
  cursor?: string
}

/** An answer to an event that asked for replies. */
export interface Reply<Data = any> {
  from: string | null
  data: Data
}

export interface Options {
  /** A JWT or an API key, or what gets one within 30 s; called again when it expires, is refused, or could not be got. */
  token: string | (() => string | Promise<string>)
  /** Default: `default`. */
  namespace?: string
  /** Whom an API key acts for. A token says that itself. */
  client?: string
  /** Begin with the oldest event kept, whatever was acknowledged. */
  from?: 'earliest'
  /** `auto` (default) finds the best way that works; the others insist on one. */
  transport?: 'auto' | Transport
  /** Share one connection among the tabs of an origin. Default: true in pages. */
  leader?: boolean
  /** Where emits wait until they are stored. Default: IndexedDB, else memory. */
  outbox?: OutboxStore | Promise<OutboxStore>
  /** Emits that may wait there; another one is refused. Default: 1000. */
  outboxLimit?: number
  /** Where it is remembered which transport works. Default: localStorage, else memory. */
  verdicts?: Verdicts
  /** Default: the global fetch. */
  fetch?: typeof fetch
  /** @internal */
  clock?: Clock
}
