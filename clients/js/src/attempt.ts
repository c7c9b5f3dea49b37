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
export type Ending =
  | { kind: 'page'; empty: boolean; more: boolean; retry?: number } // a poll brought its answer
  | { kind: 'asked'; after: number } // the server wants us back after so many seconds
  | { kind: 'closed' } // end of body, reset, or no connection at all
  | { kind: 'late' } // the deadline passed
  | { kind: 'foreign'; gateway: boolean } // something on the way answered
  | { kind: 'busy'; after: number } // the server cannot now
  | { kind: 'woken' } // we ended it ourselves, to begin anew
