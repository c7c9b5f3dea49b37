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
  /** What was sent; a Uint8Array if it was binary. */
  data: Data
  /** The client that sent it; null for a backend. */
  from: string | null
  /** When it was stored, RFC 3339. */
  at: string
  /** Present if the sender asks for replies: the value that a handler returns is sent as a reply. */
  reply?: { until: string }
}

/** Called with an event's data. A promise delays the acknowledgement until it is settled. */
export type Handler<Data = any> = (data: Data, event: Delivery<Data>) => unknown

/** Called with every event, also with those that have the name of a lifecycle event. */
export type AnyHandler = (event: string, data: any, delivery: Delivery) => unknown

/** How events come at present. */
export type Transport = 'stream' | 'poll'

/** Lost events: those after `from` up to `to`. */
export interface Gap {
  from: string | null
  to: string
  /**
   * Retention removed them; or the server has another log now; or the log lost its end in
   * a restore; or the stored event cannot be read.
   */
  reason: 'pruned' | 'log' | 'rewound' | 'unreadable'
}

/** The events of a socket itself. */
export interface Lifecycle {
  /** Events can come now. */
  connect: () => void
  /** Events cannot come; the socket keeps trying unless it was closed or refused. */
  disconnect: (reason: 'lost' | 'closed' | 'refused') => void
  /** Events come by another transport than before. */
  transport: (transport: Transport) => void
  gap: (gap: Gap) => void
  /** An emit or the connection was refused, or a handler failed. */
  error: (error: CulvertError | Error) => void
}

/** Where an emit was stored. Both fields are absent for volatile events. */
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
  /** A JWT or an API key, or a function that gets one within 30 s and is called again when the token expires, is refused, or could not be got. */
  token: string | (() => string | Promise<string>)
  /** Default: `default`. */
  namespace?: string
  /** The client for which an API key acts. A JWT names its client itself. */
  client?: string
  /** Begin with the oldest event kept, whatever was acknowledged. */
  from?: 'earliest'
  /** `auto` (default) finds the best transport that works; the others insist on one. */
  transport?: 'auto' | Transport
  /** Share one connection among the tabs of an origin. Default: true in pages. */
  leader?: boolean
  /** Where emits wait until they are stored. Default: IndexedDB, else memory. */
  outbox?: OutboxStore | Promise<OutboxStore>
  /** How many emits may wait there; more are refused. Default: 1000. */
  outboxLimit?: number
  /** Where the client remembers which transport works. Default: localStorage, else memory. */
  verdicts?: Verdicts
  /** Default: the global fetch. */
  fetch?: typeof fetch
  /** @internal */
  clock?: Clock
}
