import type { Transport } from './types.js'

/** Says how one attempt to receive is made. */
export interface Plan {
  transport: Transport
  /** Seconds a long poll is held. */
  wait: number
  /** Events of one poll. */
  limit: number
}

/** How an attempt ended. */
export const enum Kind {
  /** A poll brought its answer. */
  Page = 1,
  /** The server asks the client to connect again later. */
  ComeBack,
  /** End of body, reset, or no connection at all. */
  Closed,
  /** The deadline passed. */
  TimedOut,
  /** A proxy answered. */
  Foreign,
  /** The server cannot answer now. */
  Busy,
  /** The client ended it to begin anew. */
  Woken,
}

/** The state of the ladder. ladder.ts draws the transitions. */
export const enum State {
  /** The client asks for a stream, which has not said hello yet. */
  Connecting = 1,
  /** The stream has said hello. */
  Streaming,
  /** The stream failed: does a poll get through? */
  Checking,
  /** Events come by polls; the next one is not held, to test whether polls work. */
  Probing,
  /** Events come by polls, which work. */
  Polling,
  /** Events come by polls, and the client asks for a stream again. */
  Trying,
}

/** How an attempt ended, with details. */
export interface Ending {
  kind: Kind
  /** After how many seconds the client is asked to try again. */
  after?: number
  /** Of a page: it has no events, or there are more after it. */
  empty?: boolean
  more?: boolean
  /** Of a foreign answer: a gateway says that it timed out. */
  gateway?: boolean
}

/** Decides the next plan from how attempts ended. See createLadder. */
export interface Ladder {
  state: State
  /** When the attempt is given up (clock.now). */
  deadline: number
  /** Milliseconds until the next attempt. */
  delay: number
  /** Whether events can come: the last attempt worked, or the next one may still work. */
  up: boolean
  /** Insists on a transport from the next attempt on; undefined: on none. */
  force(transport: Transport | undefined): void
  /** Returns the plan of the next attempt, which begins now. */
  begin(): Plan
  /** Whether the connection may be silently dead: a frame or answer is overdue. */
  stale(): boolean
  /** The headers of a poll's answer have come; its body is still to be read. */
  gotHeaders(): void
  /**
   * A stream has said culvert:hello, at `at` by the server's clock. The other parameters are
   * milliseconds; settle is how long its first pauses last, if the server says so.
   */
  hello(heartbeat: number, retry: number, settle?: number, at?: number): void
  /** A frame came; at is the server's time if the frame is a heartbeat. */
  frame(at?: number): void
  /** The machine was asleep: try at once. moved: it is on another network, where the stream is tried again. */
  wake(moved: boolean): void
  /** The attempt ended. */
  end(e: Ending): void
}
