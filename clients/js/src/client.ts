export { connect } from './socket.js'
export { CulvertError } from './problem.js'
export { memoryOutbox } from './outbox.js'
export { idbOutbox } from './idb.js'
export { localVerdicts, memoryVerdicts } from './verdict.js'
export type { Socket } from './socket.js'
export type { Address, Wanted } from './address.js'
export type { Item, OutboxStore } from './outbox.js'
export type { Verdict, Verdicts } from './verdict.js'
export type {
  AnyHandler, Delivery, Events, Gap, Handler, Lifecycle, Options, Receipt, Reply, Transport,
} from './types.js'
