import { Acker } from './acker.js'
import type { Sender } from './address.js'
import { ask } from './ask.js'
import { persist } from './backoff.js'
import { systemClock, type Clock } from './clock.js'
import { Http } from './http.js'
import { idbOutbox } from './idb.js'
import { Inbox, type WireEvent } from './inbox.js'
import { Ladder } from './ladder.js'
import { browser, Seat } from './leader.js'
import { Link, type Listener } from './link.js'
import { memoryOutbox, Outbox, type Outcome } from './outbox.js'
import { watchPage } from './page.js'
import { CulvertError, temporary } from './problem.js'
import { claims, Credentials } from './token.js'
import type { Delivery, Gap, Options, Reply, Transport } from './types.js'
import { localVerdicts } from './verdict.js'

/** Whom a session serves. */
export interface Owner {
  deliver(d: Delivery): Promise<unknown> | undefined
  gap(gap: Gap): void
  state(up: boolean, transport: Transport | undefined): void
  refused(error: CulvertError): void
  failed(error: CulvertError): void
}

/** What tabs tell each other. */
type Word =
  | { event: WireEvent; cursor: string | undefined }
  | { gap: Gap }
  | { up: boolean; transport: Transport | undefined; position: string | undefined }
  | { sent: Outcome }
  | { use: Transport | undefined }

/** All parts of one connection, put together. */
export class Session implements Sender {
  readonly http: Http
  readonly clock: Clock
  #end = new AbortController()
  #credentials: Credentials
  #ladder: Ladder
  #inbox = new Inbox()
  #acker: Acker
  #outbox: Promise<Outbox>
  #link: Link | undefined
  #seat: Seat | undefined
  #up = false
  #transport: Transport | undefined

  constructor(private base: URL, private o: Options, private owner: Owner) {
    const clock = (this.clock = o.clock ?? systemClock)
    const { signal } = this.#end
    this.#credentials = new Credentials(o.token, clock, (e) => owner.failed(e))
    this.http = new Http(base.href, o.client, this.#credentials, clock, o.fetch)
    const verdicts = o.verdicts ?? localVerdicts
    const { transport = 'auto' } = o
    this.#ladder = new Ladder(
      clock, verdicts.load(base.origin), (v) => verdicts.save(base.origin, v),
      transport === 'auto' ? undefined : transport,
    )
    this.#acker = new Acker(clock, (cursor, leaving) =>
      this.http.json('POST', 'ack', { body: { cursor }, ...(leaving && { keepalive: true, patience: 3000 }) }))
    this.#outbox = this.#open()
    this.#outbox.catch(() => {})
    watchPage({
      network: (came) => this.#wake(came),
      seen: () => this.#look(),
      hidden: () => {
        void this.#acker.flush(true)
        this.#seat?.stop() // a page that holds a lock is not kept
      },
      restored: () => {
        this.#seat?.start()
        this.#wake(false)
      },
    }, signal)
    this.#credentials.watch(async () => {
      if (this.#link && this.#transport === 'stream') await this.http.json('POST', 'token', { signal })
    }, signal).catch(() => {})
  }

  /** Insists on a transport, or finds the best one again. */
  use(transport: Transport | undefined): void {
    this.#ladder.force(transport)
    if (this.#link) this.#link.wake(false)
    else this.#tell({ use: transport })
  }

  /** Ends it: acknowledges what was handled, and leaves what waits in the outbox there. */
  async close(): Promise<void> {
    this.#link?.stop()
    this.#link = undefined
    this.#seat?.close()
    const flushed = this.#acker.flush(true)
    this.#acker.stop()
    this.#end.abort(new CulvertError('the socket was closed'))
    void this.#outbox.then((o) => o.stop(), () => {})
    await flushed
  }

  async put(body: Record<string, unknown>) {
    // As it is now: the caller may change it before the outbox is there.
    const copy = this.o.client === undefined ? JSON.parse(JSON.stringify(body)) : body
    return (await this.#outbox).put(copy)
  }

  fling(body: Record<string, unknown>): void {
    this.http.json('POST', 'emit', { body }).catch((e) => {
      if (!temporary(e)) this.owner.failed(e)
    })
  }

  ask(body: Record<string, unknown>, timeout: number): Promise<Reply[]> {
    return ask(this.http, this.clock, this.#end.signal, body, timeout, () => this.put(body))
  }

  /** Makes a request that is repeated until it works or is refused. */
  lasting(method: string, path: string, body?: unknown, until?: number): Promise<any> {
    const { signal } = this.#end
    return persist(this.clock, signal, () => this.http.json(method, path, { body, signal }), until)
  }

  /** Begins, as soon as it is known for whom. */
  async #open(): Promise<Outbox> {
    const { signal } = this.#end
    const { client, token, leader = !!globalThis.document } = this.o
    const who = client ?? claims(typeof token === 'string' ? token : await persist(this.clock, signal, () => this.#credentials.get())).sub ?? ''
    const name = `culvert:${this.base.href}${who}`
    const store = this.o.outbox ?? (globalThis.indexedDB ? idbOutbox(name + '#outbox') : memoryOutbox())
    const outbox = new Outbox(store, this.o.outboxLimit ?? 1000, this.clock, {
      post: (body) => this.http.json('POST', 'emit', { body, signal }),
      tell: (sent) => this.#tell({ sent }),
      refused: (e) => this.owner.failed(e),
    }, signal)
    outbox.kick()
    const tabs = leader && browser()
    if (!tabs) this.#lead()
    else {
      this.#seat = new Seat(name, tabs, this.clock, {
        lead: () => this.#lead(),
        yield: () => {
          this.#link?.stop()
          this.#link = undefined
        },
        hear: (word) => this.#hear(word, outbox),
        asked: () => {
          this.#state()
          this.#look()
        },
      })
      this.#seat.start()
    }
    return outbox
  }

  #lead(): void {
    const on: Listener = {
      event: (event, cursor) => {
        this.#tell({ event, cursor })
        return this.#take(event, cursor)
      },
      gap: (gap) => {
        this.#tell({ gap })
        this.owner.gap(gap)
      },
      up: (transport) => this.#change(true, transport),
      down: () => this.#change(false, this.#transport),
      refused: (e) => {
        this.owner.refused(e)
      },
    }
    const far = !!globalThis.location && globalThis.location.origin !== this.base.origin
    this.#link = new Link(
      this.http, this.#ladder, this.#inbox, this.#acker, this.clock, on, this.o.from, far,
      () => this.#credentials.expire(),
    )
    void this.#link.run()
  }

  /** What the leader, or a follower, said. */
  #hear(word: Word, outbox: Outbox): void {
    if ('sent' in word) outbox.settle(word.sent)
    else if ('use' in word) this.#link && this.use(word.use)
    else if (this.#link) return // an old leader's last words
    else if ('event' in word) {
      const work = this.#take(word.event, word.cursor)
      if (word.cursor) this.#acker.track(word.cursor, work, false)
    } else if ('gap' in word) this.#inbox.gap(word.gap) && this.owner.gap(word.gap)
    else {
      this.#inbox.position = word.position
      this.#set(word.up, word.transport)
    }
  }

  #take(e: WireEvent, cursor: string | undefined): Promise<unknown> | undefined {
    const d = this.#inbox.take(e, cursor)
    return d && this.owner.deliver(d)
  }

  #change(up: boolean, transport: Transport | undefined): void {
    if (this.#up === up && this.#transport === transport) return
    if (up && !this.#up) void this.#outbox.then((o) => o.kick())
    this.#set(up, transport)
    this.#state()
  }

  #set(up: boolean, transport: Transport | undefined): void {
    this.#up = up
    this.#transport = transport
    this.owner.state(up, transport)
  }

  #state(): void {
    this.#tell({ up: this.#up, transport: this.#transport, position: this.#inbox.position })
  }

  #tell(word: Word): void {
    this.#seat?.tell(word)
  }

  /** Makes sure that the connection is alive. */
  #look(): void {
    this.#seat?.ask()
    if (this.#ladder.stale) this.#link?.wake(false)
  }

  #wake(came: boolean): void {
    this.#seat?.ask()
    this.#link?.wake(came)
    if (came) void this.#outbox.then((o) => o.kick(), () => {})
  }
}

