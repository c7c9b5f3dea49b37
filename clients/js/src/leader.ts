import type { Clock } from './clock.js'

/** What a seat calls. */
export interface Duties {
  /** This tab leads now: receive. */
  lead(): void
  /** This tab does not lead any more. */
  yield(): void
  /** The leader, or a follower with a request, has sent a message. */
  hear(message: any): void
  /** A follower asks whether its leader is alive: check the connection, and answer. */
  asked(): void
}

const patience = 3000 // for a leader's answer
const round = 30_000 // between a follower's questions

/**
 * One tab among the tabs of its origin that serve the same client. The tab that holds
 * the lock leads; the others receive its messages. A leader that closes releases the lock;
 * a leader that was frozen and does not answer loses it.
 */
export interface Seat {
  /** Takes part, from now on or again. */
  start(): void
  /** Gives up the lead, if it has it, to another tab. */
  stop(): void
  close(): void
  /** Sends a message to the other tabs. */
  tell(message: object): void
  /** Makes sure that a tab leads. */
  ask(): void
  /** Takes the lead from the tab that has it. */
  seize(): void
}

export function createSeat(
  name: string, locks: Pick<LockManager, 'request'>,
  channel: Pick<BroadcastChannel, 'postMessage' | 'close' | 'onmessage'>, clock: Clock, duties: Duties,
): Seat {
  const say = (data: object) => channel.postMessage(data)
  let leads = false
  let stopped = true
  let free = () => {} // releases the lock
  let queued = new AbortController()
  let alive: (() => void) | undefined // stops waiting for the leader's answer
  let next = () => {} // stops waiting to ask

  channel.onmessage = ({ data }) => {
    if (data.ask) {
      if (!leads) return
      say({ alive: true })
      duties.asked()
    } else if (data.alive) calm()
    else duties.hear(data)
  }

  const stop = () => {
    stopped = true
    next()
    calm()
    queued.abort()
    drop()
    free()
  }

  return {
    start() {
      if (stopped) enter()
    },
    stop,
    close() {
      stop()
      channel.close()
    },
    tell: say,
    ask,
    seize() {
      if (!stopped) queue(true)
    },
  }

  function enter(): void {
    stopped = false
    queue(false)
    ask()
  }

  function ask(): void {
    if (stopped || leads) return
    say({ ask: true })
    alive ??= clock.after(patience, () => {
      alive = undefined
      queue(true)
    })
    next()
    next = clock.after(round, ask)
  }

  function calm(): void {
    alive?.()
    alive = undefined
  }

  function queue(steal: boolean): void {
    queued.abort()
    const { signal } = (queued = new AbortController())
    let held = false
    // The promise is rejected when the lock was taken away, or when the wait for it was given up.
    locks.request(name, steal ? { steal } : { signal }, () => {
      if (signal.aborted) return
      held = leads = true
      calm()
      duties.lead()
      return new Promise<void>((resolve) => (free = resolve))
    }).catch(() => {
      if (held && drop()) enter()
    })
  }

  /** Gives up the lead; returns whether this tab led. */
  function drop(): boolean {
    const led = leads
    leads = false
    if (led) duties.yield()
    return led
  }
}

