import type { Clock } from './clock.js'

/** What a seat does in its place. */
export interface Duties {
  /** This tab leads now: receive. */
  lead(): void
  /** It does not any more. */
  yield(): void
  /** The leader, or for requests a follower, has said something. */
  hear(message: any): void
  /** A follower asks whether its leader is alive: look, and answer. */
  asked(): void
}

/** The parts of Web Locks and BroadcastChannel that are used; tests bring their own. */
export interface Browser {
  locks: Pick<LockManager, 'request'>
  channel: (name: string) => Pick<BroadcastChannel, 'postMessage' | 'close' | 'onmessage'>
}

const patience = 3000 // for a leader's answer
const round = 30_000 // between a follower's questions

/**
 * One tab's seat among those of its origin that serve the same client. Whoever holds
 * the lock leads; the others hear from it. A leader that closes lets go of the lock,
 * and one that was frozen with it and does not answer has it taken away.
 */
export class Seat {
  #channel: ReturnType<Browser['channel']>
  #leads = false
  #free: (() => void) | undefined // lets go of the lock
  #queued: AbortController | undefined
  #stopped = true
  #alive: (() => void) | undefined // stops waiting for the leader's answer
  #next = () => {}

  constructor(private name: string, private browser: Browser, private clock: Clock, private duties: Duties) {
    this.#channel = browser.channel(name)
    this.#channel.onmessage = ({ data }) => this.#hear(data)
  }

  /** Takes part, from now on or again. */
  start(): void {
    if (!this.#stopped) return
    this.#stopped = false
    this.#queue(false)
    this.ask()
  }

  /** Leaves the lead, if it has it, to another tab. */
  stop(): void {
    this.#stopped = true
    this.#next()
    this.#alive?.()
    this.#alive = undefined
    this.#queued?.abort()
    this.#drop()
    this.#free?.()
  }

  close(): void {
    this.stop()
    this.#channel.close()
  }

  /** Says something to the other tabs. */
  tell(message: unknown): void {
    this.#channel.postMessage({ message })
  }

  /** Makes sure that somebody leads. */
  ask(): void {
    if (this.#stopped || this.#leads) return
    this.#channel.postMessage({ ask: true })
    this.#alive ??= this.clock.after(patience, () => {
      this.#alive = undefined
      if (!this.#leads && !this.#stopped) this.#queue(true)
    })
    this.#next()
    this.#next = this.clock.after(round, () => this.ask())
  }

  #hear(data: any): void {
    if (data.ask) {
      if (!this.#leads) return
      this.#channel.postMessage({ alive: true })
      this.duties.asked()
    } else if (data.alive) {
      this.#alive?.()
      this.#alive = undefined
    } else this.duties.hear(data.message)
  }

  #queue(steal: boolean): void {
    this.#queued?.abort()
    const queued = (this.#queued = new AbortController())
    let held = false
    const hold = () => {
      if (queued.signal.aborted) return
      held = true
      this.#queued = undefined
      this.#leads = true
      this.#alive?.()
      this.#alive = undefined
      this.duties.lead()
      return new Promise<void>((free) => (this.#free = free))
    }
    // The promise is rejected when the lock was taken away, or the wait given up.
    this.browser.locks.request(this.name, steal ? { steal } : { signal: queued.signal }, hold).catch(() => {
      if (!held || !this.#drop() || this.#stopped) return
      this.#queue(false)
      this.ask()
    })
  }

  /** Whether it led until now. */
  #drop(): boolean {
    if (!this.#leads) return false
    this.#leads = false
    this.duties.yield()
    return true
  }
}

/** What the page offers; undefined where tabs cannot find each other. */
export function browser(): Browser | undefined {
  const { navigator, BroadcastChannel: Channel } = globalThis
  if (!navigator?.locks || !Channel) return
  return { locks: navigator.locks, channel: (name) => new Channel(name) }
}
