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
export const enum Kind {
  /** A poll brought its answer. */
  Page = 1,
  /** The server wants us back later. */
  ComeBack,
  /** End of body, reset, or no connection at all. */
  Closed,
  /** The deadline passed. */
  TimedOut,
  /** Something on the way answered. */
  Foreign,
  /** The server cannot now. */
  Busy,
  /** We ended it ourselves, to begin anew. */
  Woken,
}

/** Where the ladder stands. ladder.ts draws how one follows another. */
export const enum State {
  /** A stream is asked for, and has not said hello yet. */
  Connecting = 1,
  /** It has said hello. */
  Streaming,
  /** The stream failed: does a poll get through? */
  Checking,
  /** Polls are the way; the next one is not held, to see whether it works. */
  Probing,
  /** Polls are the way, and work. */
  Polling,
  /** A stream is asked for again, though polls are the way. */
  Trying,
}

/** How an attempt ended, and what is known of that. */
export interface Ending {
  kind: Kind
  /** Seconds after which we are wanted back. */
  after?: number
  /** Of a page: it has no events, or there are more after it. */
  empty?: boolean
  more?: boolean
  /** Of a foreign answer: it says that it waited too long. */
  gateway?: boolean
}

/** What makes plans of endings. See createLadder. */
export interface Ladder {
  state: State
  /** When the attempt is given up (clock.now). */
  deadline: number
  /** Milliseconds until the next attempt. */
  delay: number
  /** Whether events can come: the last attempt worked, or the next may still. */
  up: boolean
  /** Insists on a transport, or no longer, from the next attempt on. */
  force(transport: Transport | undefined): void
  /** The next attempt, which begins now. */
  begin(): Plan
  /** Whether the attempt may be dead without our knowing: nothing came when it should have. */
  stale(): boolean
  /** The headers of a poll have come; what remains is to read it. */
  gotHeaders(): void
  /**
   * A stream has said culvert:hello, at `at` by the server's clock. The others are
   * milliseconds; settle is what its first pauses last, where the server says so.
   */
  hello(heartbeat: number, retry: number, settle?: number, at?: number): void
  /** A frame came; at is the server's clock where the frame is a heartbeat. */
  frame(at?: number): void
  /** The machine was asleep: try at once. moved: the network is another one, where the stream is tried, too. */
  wake(moved: boolean): void
  /** The attempt ended. */
  end(e: Ending): void
}
