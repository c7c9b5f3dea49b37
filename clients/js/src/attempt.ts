import type { Transport } from './types.js'

/** How one attempt to receive is made. */
export interface Plan {
  transport: Transport
  /** Seconds a long poll is held. */
  wait: number
  /** Events of one poll. */
  limit: number
}

/** How an attempt ended. */
export interface Ending {
  kind:
    | 'page' // a poll brought its answer
    | 'asked' // the server wants us back later
    | 'closed' // end of body, reset, or no connection at all
    | 'late' // the deadline passed
    | 'foreign' // something on the way answered
    | 'busy' // the server cannot now
    | 'woken' // we ended it ourselves, to begin anew
  /** Seconds after which we are wanted back. */
  after?: number
  /** Of a page: it has no events, or there are more after it. */
  empty?: boolean
  more?: boolean
  /** Of a foreign answer: it says that it waited too long. */
  gateway?: boolean
}
