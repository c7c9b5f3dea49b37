import { createAcker } from './acker.js'
import type { Sender } from './address.js'
import { ask } from './ask.js'
import { createRetries, patience } from './backoff.js'
import { systemClock, type Clock } from './clock.js'
import { createHttp } from './http.js'
import { idbOutbox } from './idb.js'
import { createInbox, type WireEvent } from './inbox.js'
import { createLadder } from './ladder.js'
import { createSeat, type Seat } from './leader.js'
import { createLink, type Link } from './link.js'
import { createOutbox, memoryOutbox, newKey, type OutboxStore, type Outcome } from './outbox.js'
import { watchPage } from './page.js'
import { CulvertError, temporary } from './problem.js'
import { claims, createCredentials } from './token.js'
import type { Delivery, Gap, Options, Transport } from './types.js'
import { localVerdicts } from './verdict.js'

/** What a session calls: the socket. */
export interface Owner {
  deliver(d: Delivery): Promise<unknown> | undefined
  gap(gap: Gap): void
  state(up: boolean, transport: Transport | undefined): void
  refused(error: CulvertError): void
  failed(error: CulvertError): void
}

/** A message between tabs. */
interface Word {
  event?: WireEvent
  cursor?: string | undefined
  /** A new gap; in a message about the leader's state the last gap, for tabs that missed it. */
  gap?: Gap | undefined
  sent?: Outcome
  use?: 'auto' | Transport
  up?: boolean
  transport?: Transport | undefined
  /** Where the leader is in the log. */
  at?: string | undefined
  /** The offset of the event that the leader sent before; absent with a new gap. */
  last?: number
}

/** All parts of one connection, put together. */
export interface Session extends Sender {
  clock: Clock
  /** Insists on a transport, or finds the best one again. */
  use(transport: 'auto' | Transport): void
  /** Makes a request that is repeated until it works or is refused. */
  lasting(method: string, path: string, body?: unknown, until?: number): Promise<any>
  /** Ends the session: acknowledges what was handled, and leaves waiting emits in the outbox. */
  close(): Promise<void>
}

const forced = (t?: 'auto' | Transport) => (t === 'auto' ? undefined : t)

export function createSession(base: URL, o: Options, owner: Owner): Session {
  const { clock = systemClock, verdicts = localVerdicts, client, token } = o
  const { href, origin } = base
  const end = new AbortController()
  const { signal } = end
  const credentials = createCredentials(token, clock, signal, owner.failed, async () => {
    if (link && transport === 'stream') await http.json('POST', 'token', { signal })
  })
  const http = createHttp(href, client, credentials, clock, o.fetch)
  const ladder = createLadder(clock, verdicts.load(origin), (v) => verdicts.save(origin, v), forced(o.transport))
  const inbox = createInbox()
  // While polling, the next poll carries the acknowledgement, even if polls are not held.
  const acker = createAcker(clock, () => (transport === 'poll' ? 4000 : 1000), (cursor) =>
    http.json('POST', 'ack', { body: { cursor }, keepalive: true }))
  let link: Link | undefined
  let seat: Seat | undefined
  let up = false
  let transport: Transport | undefined
  const gaps: Gap[] = [] // the gaps that this tab has reported

  const { persist, hurry } = createRetries(clock, signal)
  const kick = () => {
    hurry()
    start()
  }
  const { put, withdraw, settle, start } = createOutbox(open(), o.outboxLimit ?? 1000, persist, {
    post: (body, patience) => http.json('POST', 'emit', { body, signal, patience }),
    tell: (sent) => tell({ sent }),
    refused: owner.failed,
  }, signal)
  start()

  watchPage(signal, wake, look, () => {
    void acker.flush()
    seat?.stop() // a page that holds a lock is not kept
  }, () => {
    seat?.start()
    wake(false)
  })

  return {
    clock,
    use,
    async close() {
      leave()
      seat?.close()
      acker.stop()
      const flushed = acker.flush()
      end.abort(new CulvertError('the socket is closed'))
      await flushed
    },
    // As JSON at once, because the caller may change the value before the outbox is open.
    put: (body) => put(JSON.stringify(body), newKey()),
    async emitVolatile(body) {
      http.json('POST', 'emit', { body }).catch((e) => temporary(e) || owner.failed(e))
      return {}
    },
    ask: (body, timeout) => ask(http, clock, signal, persist, body, timeout, put, withdraw),
    lasting: (method, path, body, until) => persist((n) => http.json(method, path, { body, signal, patience: patience(n) }), until),
  }

  /** Begins as soon as the client's name is known. */
  async function open(): Promise<OutboxStore> {
    const who = client ?? claims(await persist(() => credentials.get())).sub ?? ''
    signal.throwIfAborted() // closed meanwhile
    const name = `culvert:${href}${who}`
    const { document, navigator, BroadcastChannel: Channel } = globalThis
    if (!((o.leader ?? document) && navigator?.locks && Channel)) lead()
    else {
      seat = createSeat(name, navigator.locks, new Channel(name), clock, {
        lead,
        yield: leave,
        hear,
        asked() {
          state()
          look()
        },
      })
      seat.start()
    }
    return o.outbox ?? (globalThis.indexedDB ? idbOutbox(name + '#outbox') : memoryOutbox())
  }

  function lead(): void {
    link = createLink(http, ladder, inbox, acker, clock, {
      event(event, cursor) {
        tell({ event, cursor, last: inbox.last })
        return take(event, cursor)
      },
      gap(gap) {
        tell({ gap })
        gone(gap)
      },
      up: (way) => set(true, way),
      down: () => set(false, transport),
      refused: owner.refused,
      expired: credentials.expire,
    }, o.from, (globalThis.location ?? base).origin === origin, () => credentials.get())
  }

  function leave(): void {
    link?.stop()
    link = undefined
  }

  function use(t: 'auto' | Transport): void {
    ladder.force(forced(t))
    if (link) link.wake(false)
    else tell({ use: t })
  }

  /** Handles a message of the leader, or of a follower. */
  function hear(word: Word): void {
    const { sent, use: way, event, cursor, gap, at, last } = word
    if (sent) settle(sent)
    else if (way) link && use(way)
    else if (link) return // the last messages of an old leader
    else {
      // The browser drops messages to a frozen page. A missed gap changes the meaning of the offsets
      // that were seen; missed events this tab requests from the server itself.
      const isNew = last === undefined // a gap, and not the state with the last one
      const news = gap && (isNew || (inbox.position && gaps.every(({ to }) => to !== gap.to)))
      if (news && inbox.gap(gap)) gone(gap)
      if (inbox.position && last! > inbox.last) seat!.seize()
      else if (event) {
        const work = take(event, cursor)
        if (cursor) acker.track(cursor, work, true)
      } else if (!isNew) {
        inbox.position = at
        inbox.last = Math.max(inbox.last, last)
        set(word.up!, word.transport)
      }
    }
  }

  function gone(gap: Gap): void {
    gaps.push(gap)
    owner.gap(gap)
  }

  function take(e: WireEvent, cursor: string | undefined): Promise<unknown> | undefined {
    const d = inbox.take(e, cursor)
    return d && owner.deliver(d)
  }

  function set(works: boolean, way: Transport | undefined): void {
    if (up === works && transport === way) return
    if (works && !up) kick()
    up = works
    transport = way
    owner.state(up, way)
    if (link) state()
  }

  function state(): void {
    tell({ up, transport, at: inbox.position, last: inbox.last, gap: gaps.at(-1) })
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
