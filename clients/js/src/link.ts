import type { Ending, Ladder, Plan } from './attempt.js'
import type { Acker } from './acker.js'
import { nap, type Nap } from './backoff.js'
import type { Clock } from './clock.js'
import type { Http, Request } from './http.js'
import type { Inbox, WireEvent } from './inbox.js'
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
  /** The server will not take the token any more. */
  expired(): void
}

/** Receives: one attempt after the other, as the ladder says, from the inbox's position. */
export interface Link {
  /** Ends it, at once and for good. */
  stop(): void
  /** Begins anew at once; stream: also by the way that was given up. */
  wake(stream: boolean): void
}

const late = new CulvertError('no answer in time')
const woken = new CulvertError('begins anew')

/**
 * Begins to receive, until it is stopped or refused. first: where to begin without a
 * position. fickle: make every URL another one. Across origins a browser asks for
 * permission once per URL; elsewhere nothing speaks for asking a cache the same
 * question again. token is asked for before each attempt: how long that takes, and
 * whether it fails, says nothing of the way.
 */
export function createLink(
  http: Http, ladder: Ladder, inbox: Inbox, acker: Acker, clock: Clock, on: Listener,
  first: string | undefined, fickle: boolean, token: () => Promise<unknown>,
): Link {
  let attempt = new AbortController()
  let rest: Nap | undefined
  const end = new AbortController()
  const { signal: ended } = end

  const stop = () => {
    end.abort()
    attempt.abort(woken)
  }

  void (async () => {
    for (;;) {
      await (rest = nap(clock, ladder.delay, ended))
      if (ended.aborted) return
      const failure = await token().then(() => {}, endingOf)
      const plan = ladder.begin()
      const ending = failure ?? (await make(plan))
      if (ended.aborted) return
      if (ending instanceof CulvertError) {
        stop()
        return on.refused(ending)
      }
      ladder.end(ending)
      if (!ladder.up) on.down()
    }
  })()

  return {
    stop,
    wake(stream) {
      ladder.wake(stream)
      attempt.abort(woken)
      rest?.wake()
    },
  }

  /** One attempt, and how it ended; an error when there must be no other. */
  async function make(plan: Plan): Promise<Ending | CulvertError> {
    const mine = (attempt = new AbortController())
    const { signal } = mine
    let cancel = () => {}
    // The deadline moves with every frame: look again when it has come.
    const watch = () => {
      const left = ladder.deadline - clock.now()
      if (left > 0) cancel = clock.after(left, watch)
      else mine.abort(late)
    }
    watch()
    try {
      return await Promise.race([
        plan.transport === 'stream' ? stream(signal) : poll(plan, signal),
        // Not every fetch heeds its signal when the network has gone silent.
        new Promise<never>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
      ])
    } catch (error) {
      return endingOf(signal.aborted ? signal.reason : error)
    } finally {
      cancel()
      mine.abort(woken)
    }
  }

  /** What both transports ask: where to go on, and what is handled. */
  function ask(signal: AbortSignal, accept: string, more?: Request['query']): Request {
    const { position } = inbox
    return {
      signal,
      headers: { Accept: accept, ...(position && { 'Last-Event-ID': position }) },
      query: {
        ...more,
        ack: acker.idle() ? 'auto' : undefined,
        from: position ? undefined : first,
        ...(fickle && { after: position, _: clock.random().toString(36).slice(2) }),
      },
    }
  }

  async function stream(signal: AbortSignal): Promise<Ending> {
    const sent = inbox.position
    const asked = ask(signal, 'text/event-stream')
    const answer = await http.send('GET', 'events', asked)
    if (!isStream(answer)) throw (await read(answer), foreign(answer.status))
    let retry = 1000
    let ending: Ending = { kind: 'closed' }
    await readStream(answer, (name, text, cursor) => {
      if (signal.aborted) return
      const data = JSON.parse(text)
      if (name === 'culvert:hello') {
        inbox.log(data.log)
        // It begins elsewhere than asked: a header got lost, or a cache answered.
        if (sent && data.cursor !== sent && !fickle) throw ((fickle = true), woken)
        ladder.hello(data.heartbeat * 1000, retry)
        worked('stream', asked, sent)
        at(cursor)
      } else if (name === 'culvert:heartbeat') {
        ladder.frame(Date.parse(data.at))
        at(cursor)
      } else if (name === 'culvert:gap') gap(data)
      else if (name === 'culvert:reconnect') {
        ending = { kind: 'asked', after: data.after }
        if (data.reason === 'expired') on.expired()
      } else {
        ladder.frame()
        const work = on.event(data, cursor)
        if (cursor) acker.track(cursor, work)
      }
      if (ladder.deadline <= clock.now()) throw late
    }, (ms) => (retry = ms))
    return ending
  }

  async function poll({ wait, limit }: Plan, signal: AbortSignal): Promise<Ending> {
    const sent = inbox.position
    const asked = ask(signal, 'application/json', { wait, limit: limit < 100 ? limit : undefined })
    const began = clock.now()
    const answer = await http.send('GET', 'events', asked)
    if (answer.ok) ladder.answered()
    const page = await read(answer)
    const { cursor, more, retry } = page
    const events: WireEvent[] = page.events
    if (!Array.isArray(events) || !cursor) throw foreign(200)
    if (signal.aborted) throw woken
    worked('poll', asked, sent)
    if (page.gap) gap(page.gap)
    const empty = !events.length
    const quick = empty && wait && !retry && clock.now() - began < wait * 500
    // What was seen comes again, for the header got lost; or a held poll was not held,
    // perhaps by a cache.
    if (sent && (quick || events.some(inbox.seen))) fickle = true
    const work = events.map((e, i) => on.event(e, events[i + 1] ? undefined : cursor)).filter((w) => w)
    inbox.position = cursor
    acker.track(cursor, work[0] && Promise.allSettled(work), !empty)
    return { kind: 'page', empty, more, after: retry }
  }

  function worked(transport: Transport, asked: Request, sent: string | undefined): void {
    if (asked.query!.ack && sent) acker.confirm(sent)
    on.up(transport)
  }

  function at(cursor: string | undefined): void {
    if (!cursor) return
    inbox.position = cursor
    acker.track(cursor, undefined, false)
  }

  function gap(g: Gap): void {
    if (inbox.gap(g)) on.gap(g)
  }
}

/** What an error says of the way; itself when it is a refusal. */
function endingOf(error: unknown): Ending | CulvertError {
  if (error === woken) return { kind: 'woken' }
  if (error === late) return { kind: 'late' }
  if (!(error instanceof CulvertError)) return { kind: 'closed' }
  const { status, retryAfter } = error
  if (error.foreign) return { kind: 'foreign', after: retryAfter, gateway: [408, 504, 524].includes(status) }
  return temporary(error) ? { kind: 'busy', after: retryAfter } : error
}
