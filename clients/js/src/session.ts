import { createAcker } from './acker.js'
import type { Sender } from './address.js'
import { ask } from './ask.js'
import { patience, persist } from './backoff.js'
import { systemClock, type Clock } from './clock.js'
import { createHttp } from './http.js'
import { idbOutbox } from './idb.js'
import { createInbox, type WireEvent } from './inbox.js'
import { createLadder } from './ladder.js'
import { browser, createSeat, type Seat } from './leader.js'
import { createLink, type Link } from './link.js'
import { createOutbox, memoryOutbox, newKey, type Outbox, type Outcome } from './outbox.js'
import { watchPage } from './page.js'
import { CulvertError, temporary } from './problem.js'
import { claims, createCredentials } from './token.js'
import type { Delivery, Gap, Options, Transport } from './types.js'
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
  | { use: 'auto' | Transport }

/** All parts of one connection, put together. */
export interface Session extends Sender {
  clock: Clock
  /** Insists on a transport, or finds the best one again. */
  use(transport: 'auto' | Transport): void
  /** Makes a request that is repeated until it works or is refused. */
  lasting(method: string, path: string, body?: unknown, until?: number): Promise<any>
  /** Ends it: acknowledges what was handled, and leaves what waits in the outbox there. */
  close(): Promise<void>
}

const forced = (t?: 'auto' | Transport) => (t === 'auto' ? undefined : t)

export function createSession(base: URL, o: Options, owner: Owner): Session {
  const { clock = systemClock, verdicts = localVerdicts, client, token } = o
  const { href, origin } = base
  const end = new AbortController()
  const { signal } = end
  const credentials = createCredentials(token, clock, owner.failed)
  const http = createHttp(href, client, credentials, clock, o.fetch)
  const ladder = createLadder(clock, verdicts.load(origin), (v) => verdicts.save(origin, v), forced(o.transport))
  const inbox = createInbox()
  const acker = createAcker(clock, (cursor, leaving) =>
    http.json('POST', 'ack', { body: { cursor }, ...(leaving && { keepalive: true, patience: 3000 }) }))
  let link: Link | undefined
  let seat: Seat | undefined
  let up = false
  let transport: Transport | undefined

  const opened = open()
  opened.catch(() => {})
  const kick = () => void opened.then((outbox) => outbox.kick(), () => {})

  watchPage({
    network: wake,
    seen: look,
    hidden() {
      void acker.flush(true)
      seat?.stop() // a page that holds a lock is not kept
    },
    restored() {
      seat?.start()
      wake(false)
    },
  }, signal)
  void credentials.watch(async () => {
    if (link && transport === 'stream') await http.json('POST', 'token', { signal })
  }, signal)

  const put = (text: string, key: string) => opened.then((outbox) => outbox.put(text, key))

  return {
    clock,
    use,
    async close() {
      link?.stop()
      link = undefined
      seat?.close()
      const flushed = acker.flush(true)
      acker.stop()
      end.abort(new CulvertError('the socket was closed'))
      await flushed
    },
    // As JSON at once: the caller may change it before the outbox is there.
    put: (body) => put(JSON.stringify(body), newKey()),
    fling(body) {
      http.json('POST', 'emit', { body }).catch((e) => {
        if (!temporary(e)) owner.failed(e)
      })
    },
    ask: (body, timeout) => ask(http, clock, signal, body, timeout, put, (key) => {
      if (!signal.aborted) opened.then((outbox) => outbox.withdraw(key)).catch(() => {})
    }),
    lasting: (method, path, body, until) => persist(clock, signal, (n) => http.json(method, path, { body, signal, patience: patience(n) }), until),
  }

  /** Begins, as soon as it is known for whom. */
  async function open(): Promise<Outbox> {
    const who = client ?? claims(typeof token === 'string' ? token : await persist(clock, signal, credentials.get)).sub ?? ''
    signal.throwIfAborted() // closed meanwhile
    const name = `culvert:${href}${who}`
    const store = o.outbox ?? (globalThis.indexedDB ? idbOutbox(name + '#outbox') : memoryOutbox())
    const outbox = createOutbox(store, o.outboxLimit ?? 1000, clock, {
      post: (body, patience) => http.json('POST', 'emit', { body, signal, patience }),
      tell: (sent) => tell({ sent }),
      refused: owner.failed,
    }, signal)
    outbox.kick()
    const tabs = (o.leader ?? globalThis.document) && browser()
    if (!tabs) lead()
    else {
      seat = createSeat(name, tabs, clock, {
        lead,
        yield() {
          link?.stop()
          link = undefined
        },
        hear: (word) => hear(word, outbox),
        asked() {
          state()
          look()
        },
      })
      seat.start()
    }
    return outbox
  }

  function lead(): void {
    const { location } = globalThis
    link = createLink(http, ladder, inbox, acker, clock, {
      event(event, cursor) {
        tell({ event, cursor })
        return take(event, cursor)
      },
      gap(gap) {
        tell({ gap })
        owner.gap(gap)
      },
      up: (way) => change(true, way),
      down: () => change(false, transport),
      refused: owner.refused,
      expired: credentials.expire,
    }, o.from, !location || location.origin === origin, credentials.get)
  }

  function use(t: 'auto' | Transport): void {
    ladder.force(forced(t))
    if (link) link.wake(false)
    else tell({ use: t })
  }

  /** What the leader, or a follower, said. */
  function hear(word: Word, outbox: Outbox): void {
    if ('sent' in word) outbox.settle(word.sent)
    else if ('use' in word) link && use(word.use)
    else if (link) return // an old leader's last words
    else if ('event' in word) {
      const { event, cursor } = word
      const work = take(event, cursor)
      if (cursor) acker.track(cursor, work, false)
    } else if ('gap' in word) inbox.gap(word.gap) && owner.gap(word.gap)
    else {
      inbox.position = word.position
      set(word.up, word.transport)
    }
  }

  function take(e: WireEvent, cursor: string | undefined): Promise<unknown> | undefined {
    const d = inbox.take(e, cursor)
    return d && owner.deliver(d)
  }

  function change(works: boolean, way: Transport | undefined): void {
    if (up === works && transport === way) return
    if (works && !up) kick()
    set(works, way)
    state()
  }

  function set(works: boolean, way: Transport | undefined): void {
    up = works
    transport = way
    owner.state(up, way)
  }

  function state(): void {
    tell({ up, transport, position: inbox.position })
  }

  function tell(word: Word): void {
    seat?.tell(word)
  }

  /** Makes sure that the connection is alive. */
  function look(): void {
    seat?.ask()
    if (ladder.stale()) link?.wake(false)
  }

  function wake(came: boolean): void {
    seat?.ask()
    link?.wake(came)
    if (came) kick()
  }
}
