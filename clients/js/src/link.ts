import { nap, type Nap } from './backoff.js'
import type { Acker } from './acker.js'
import type { Clock } from './clock.js'
import type { Http, Request } from './http.js'
import type { Inbox, WireEvent } from './inbox.js'
import type { Ending, Plan } from './attempt.js'
import type { Ladder } from './ladder.js'
import { CulvertError, foreign, read, temporary } from './problem.js'
import { isStream, readStream } from './stream.js'
import type { Gap, Transport } from './types.js'

/** Whom a link tells what it learns. */
export interface Listener {
  /** An event; the promise is there while handlers work. */
  event(e: WireEvent, cursor: string | undefined): Promise<unknown> | undefined
  gap(gap: Gap): void
  up(transport: Transport): void
  down(): void
  /** The server will not have us; the link has stopped. */
  refused(error: CulvertError): void
}

const late = new CulvertError('no answer in time')
const woken = new CulvertError('begins anew')
const gateways = [408, 504, 524]

/** Receives: one attempt after the other, as the ladder says, from the inbox's position. */
export class Link {
  #stop = new AbortController()
  #attempt: AbortController | undefined
  #rest: Nap | undefined
  #fickle: boolean // make every URL another one

  constructor(
    private http: Http, private ladder: Ladder, private inbox: Inbox, private acker: Acker,
    private clock: Clock, private on: Listener, private first: string | undefined, crossOrigin: boolean,
    private expire: () => void,
  ) {
    // Across origins a browser asks for permission once per URL; elsewhere nothing
    // speaks for asking a cache the same question again.
    this.#fickle = !crossOrigin
  }

  /** Receives until it is stopped or refused. */
  async run(): Promise<void> {
    const { signal } = this.#stop
    while (!signal.aborted) {
      await (this.#rest = nap(this.clock, this.ladder.delay, signal))
      if (signal.aborted) return
      const ending = await this.#try(this.ladder.begin())
      if (signal.aborted) return
      if (ending instanceof CulvertError) {
        this.stop()
        return this.on.refused(ending)
      }
      this.ladder.end(ending)
      if (!this.ladder.up) this.on.down()
    }
  }

  stop(): void {
    this.#stop.abort(woken)
    this.#attempt?.abort(woken)
  }

  /** Begins anew at once; stream: also by the way that was given up. */
  wake(stream: boolean): void {
    this.ladder.wake(stream)
    this.#attempt?.abort(woken)
    this.#rest?.wake()
  }

  /** One attempt, and how it ended; an error when there must be no other. */
  async #try(plan: Plan): Promise<Ending | CulvertError> {
    const attempt = (this.#attempt = new AbortController())
    const { signal } = attempt
    let cancel = () => {}
    // The deadline moves with every frame: look again when it has come.
    const watch = () => {
      const left = this.ladder.deadline - this.clock.now()
      if (left <= 0) attempt.abort(late)
      else cancel = this.clock.after(left, watch)
    }
    watch()
    // Not every fetch heeds its signal when the network has gone silent.
    const aborted = new Promise<never>((_, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason))
    })
    try {
      const work = plan.transport === 'stream' ? this.#stream(signal) : this.#poll(plan, signal)
      return await Promise.race([work, aborted])
    } catch (error) {
      return ending(signal.aborted ? signal.reason : error)
    } finally {
      cancel()
      attempt.abort(woken)
    }
  }

  /** What both transports ask: where to go on, and what is handled. */
  #ask(signal: AbortSignal, accept: string): Request {
    const { position } = this.inbox
    return {
      signal,
      headers: { Accept: accept, ...(position && { 'Last-Event-ID': position }) },
      query: {
        ack: this.acker.idle ? 'auto' : undefined,
        from: position ? undefined : this.first,
        ...(this.#fickle && { after: position, _: this.clock.random().toString(36).slice(2) }),
      },
    }
  }

  async #stream(signal: AbortSignal): Promise<Ending> {
    const sent = this.inbox.position
    const asked = this.#ask(signal, 'text/event-stream')
    const answer = await this.http.send('GET', 'events', asked)
    if (!isStream(answer)) throw (await read(answer), foreign(answer.status))
    let retry = 1000
    let end: Ending = { kind: 'closed' }
    await readStream(answer, (f) => {
      if (signal.aborted) return
      const data = JSON.parse(f.data)
      switch (f.event) {
        case 'culvert:hello':
          this.inbox.log(data.log)
          if (sent && data.cursor !== sent) this.#stale()
          this.ladder.hello(data.heartbeat * 1000, retry)
          this.#worked('stream', asked, sent)
          if (f.id) this.#at(f.id)
          break
        case 'culvert:heartbeat':
          this.ladder.frame(Date.parse(data.at))
          if (f.id) this.#at(f.id)
          break
        case 'culvert:gap':
          this.#gap(data)
          break
        case 'culvert:reconnect':
          end = { kind: 'asked', after: data.after }
          if (data.reason === 'expired') this.expire()
          break
        default:
          this.ladder.frame()
          this.#deliver(data, f.id)
      }
      if (this.ladder.deadline <= this.clock.now()) throw late
    }, (ms) => (retry = ms))
    return end
  }

  async #poll(plan: Plan, signal: AbortSignal): Promise<Ending> {
    const sent = this.inbox.position
    const asked = this.#ask(signal, 'application/json')
    const { wait, limit } = plan
    Object.assign(asked.query!, { wait, limit: limit < 100 ? limit : undefined })
    const began = this.clock.now()
    const answer = await this.http.send('GET', 'events', asked)
    if (answer.ok) this.ladder.answered()
    const page = await read(answer)
    if (!Array.isArray(page.events) || !page.cursor) throw foreign(200)
    if (signal.aborted) return { kind: 'woken' }
    this.#worked('poll', asked, sent)
    if (page.gap) this.#gap(page.gap)
    const events: WireEvent[] = page.events
    const empty = !events.length
    if (sent && events.some((e) => this.inbox.seen(e))) this.#fickle = true // the header got lost
    const work: Promise<unknown>[] = []
    events.forEach((e, i) => {
      const done = this.on.event(e, i === events.length - 1 ? page.cursor : undefined)
      if (done) work.push(done)
    })
    const quick = empty && wait > 0 && !page.retry && this.clock.now() - began < wait * 500
    if (sent && quick) this.#fickle = true // not held: perhaps by a cache
    this.inbox.position = page.cursor
    this.acker.track(page.cursor, work.length ? Promise.allSettled(work) : undefined, !empty)
    return { kind: 'page', empty, more: page.more, retry: page.retry }
  }

  /** The answer begins elsewhere than asked: a header got lost, or a cache answered. */
  #stale(): void {
    if (this.#fickle) return
    this.#fickle = true
    throw woken
  }

  #worked(transport: Transport, asked: Request, sent: string | undefined): void {
    if (asked.query!.ack && sent) this.acker.confirm(sent)
    this.on.up(transport)
  }

  #at(cursor: string): void {
    this.inbox.position = cursor
    this.acker.track(cursor, undefined, false)
  }

  #gap(gap: Gap): void {
    if (this.inbox.gap(gap)) this.on.gap(gap)
  }

  #deliver(e: WireEvent, cursor: string | undefined): void {
    const work = this.on.event(e, cursor)
    if (cursor) this.acker.track(cursor, work)
  }
}

/** What an error says of the way. */
function ending(error: unknown): Ending | CulvertError {
  if (!(error instanceof CulvertError)) return { kind: 'closed' }
  if (error === woken || error === late) return { kind: error === late ? 'late' : 'woken' }
  const { status, foreign, retryAfter } = error
  if (foreign) return { kind: 'foreign', gateway: gateways.includes(status) }
  return temporary(error) ? { kind: 'busy', after: retryAfter } : error
}
