import { Kind, type Ending, type Ladder, type Plan } from './attempt.js'
import type { Acker } from './acker.js'
import { nap, type Nap } from './backoff.js'
import type { Clock } from './clock.js'
import type { Http } from './http.js'
import type { Inbox, WireEvent } from './inbox.js'
import { CulvertError, foreign, read, temporary } from './problem.js'
import { isStream, readStream } from './stream.js'
import type { Gap, Transport } from './types.js'

/** What a link calls when something happens. */
export interface Listener {
  /** An event came. Returns a promise while handlers work. */
  event(e: WireEvent, cursor: string | undefined): Promise<unknown> | undefined
  gap(gap: Gap): void
  up(transport: Transport): void
  down(): void
  /** The server refused the client; the link has stopped. */
  refused(error: CulvertError): void
  /** The server does not accept the token any more. */
  expired(): void
}

/** Receives: one attempt after the other, as the ladder says, from the inbox's position. */
export interface Link {
  /** Ends it, at once and for good. */
  stop(): void
  /** Begins anew at once. moved: on another network, where the stream is tried again. */
  wake(moved: boolean): void
}

const timedOut: Ending = { kind: Kind.TimedOut }
const woken: Ending = { kind: Kind.Woken }

/**
 * Receives until it is stopped or refused. first: where to begin without a
 * position. fickle: each request has another URL, so that no cache can answer. Across origins this is off
 * until it is needed, because a browser sends a preflight for each URL. token is called before each attempt;
 * its duration and failure do not count against the transport.
 */
export function createLink(
  http: Http, ladder: Ladder, inbox: Inbox, acker: Acker, clock: Clock, on: Listener,
  first: string | undefined, fickle: boolean, token: () => Promise<unknown>,
): Link {
  let attempt = new AbortController()
  let rest: Nap | undefined
  let ended = false

  const stop = () => {
    ended = true
    attempt.abort(woken)
    rest?.wake()
  }

  void (async () => {
    for (;;) {
      await (rest = nap(clock, ladder.delay))
      const failure = await token().then(() => {}, endingOf)
      if (ended) return
      const plan = ladder.begin()
      const ending = failure ?? (await make(plan))
      if (ended) return
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
    wake(moved) {
      ladder.wake(moved)
      attempt.abort(woken)
      rest?.wake()
    },
  }

  /** Makes one attempt and returns how it ended; an error means that no attempt may follow. */
  async function make(plan: Plan): Promise<Ending | CulvertError> {
    const { signal } = (attempt = new AbortController())
    // The deadline moves with every frame: check again when it is reached.
    const watch = async (): Promise<never> => {
      for (;;) {
        const left = ladder.deadline - clock.now()
        if (left <= 0) throw timedOut
        await nap(clock, left, signal)
        if (signal.aborted) throw signal.reason
      }
    }
    try {
      return await Promise.race([
        receive(plan, signal),
        // Not every fetch obeys its signal when the network is silent.
        watch(),
      ])
    } catch (error) {
      return endingOf(signal.aborted ? signal.reason : error)
    } finally {
      attempt.abort(woken)
    }
  }

  /** Sends the request, with the position and maybe an acknowledgement, and reads the answer. */
  async function receive({ transport, wait, limit }: Plan, signal: AbortSignal): Promise<Ending> {
    const { position } = inbox
    const streams = transport === 'stream'
    const ack = acker.idle() ? 'auto' : undefined
    const began = clock.now()
    const answer = await http.send('GET', 'events', {
      signal,
      headers: { Accept: streams ? 'text/event-stream' : 'application/json', ...(position && { 'Last-Event-ID': position }) },
      query: {
        ...(!streams && { wait, limit: limit < 100 ? limit : undefined }),
        ack,
        from: position ? undefined : first,
        ...(fickle && { after: position, _: clock.random() }),
      },
    })
    return streams ? stream() : page()

    function worked(): void {
      if (ack && position) acker.confirm(position)
      on.up(transport)
    }

    async function stream(): Promise<Ending> {
      if (!isStream(answer)) throw (await read(answer), foreign(answer.status))
      let retry = 1000
      let ending: Ending = { kind: Kind.Closed }
      await readStream(answer, (frame) => {
        retry = +frame.retry! || retry
        if (!frame.data || signal.aborted) return
        const { event, id } = frame
        const data = JSON.parse(frame.data)
        if (event === 'culvert:hello') {
          inbox.log(data.log)
          // The stream begins elsewhere than asked: a header was lost, or a cache answered.
          if (position && data.cursor !== position && !fickle) throw ((fickle = true), woken)
          ladder.hello(data.heartbeat * 1000, retry, data.settle * 1000, Date.parse(data.at))
          worked()
          at(id)
        } else if (event === 'culvert:heartbeat') {
          ladder.frame(Date.parse(data.at))
          at(id)
        } else if (event === 'culvert:gap') gap(data)
        else if (event === 'culvert:reconnect') {
          ending = { kind: Kind.ComeBack, after: data.after }
          if (data.reason === 'expired') on.expired()
        } else {
          ladder.frame()
          const work = data.event && on.event(data, id) // else a control frame of a later server
          if (id) acker.track(id, work)
        }
        if (ladder.deadline <= clock.now()) throw timedOut
      })
      return ending
    }

    async function page(): Promise<Ending> {
      if (answer.ok) ladder.gotHeaders()
      const { cursor, more, retry, gap: hole, events } = await read(answer)
      if (!Array.isArray(events) || !cursor) throw foreign(200)
      if (signal.aborted) throw woken
      worked()
      if (hole) gap(hole)
      const empty = !events.length
      const quick = empty && wait && !retry && clock.now() - began < wait * 500
      // Known events come again because the header was lost; or a held poll was not held,
      // maybe because a cache answered.
      if (position && (quick || events.some(inbox.seen))) fickle = true
      const work = events.map((e, i) => on.event(e, events[i + 1] ? undefined : cursor)).filter((w) => w)
      inbox.position = cursor
      acker.track(cursor, work[0] && Promise.allSettled(work), empty)
      return { kind: Kind.Page, empty, more, after: retry }
    }
  }

  function at(cursor: string | undefined): void {
    if (!cursor) return
    inbox.position = cursor
    acker.track(cursor, undefined, true)
  }

  function gap(g: Gap): void {
    if (inbox.gap(g)) on.gap(g)
  }
}

/** Returns the ending that an error means, or the error itself if it is a refusal. */
function endingOf(error: unknown): Ending | CulvertError {
  if ((error as Ending)?.kind) return error as Ending
  if (!(error instanceof CulvertError)) return { kind: Kind.Closed }
  const { status, retryAfter } = error
  if (error.foreign) return { kind: Kind.Foreign, after: retryAfter, gateway: [408, 504, 524].includes(status) }
  return temporary(error) ? { kind: Kind.Busy, after: retryAfter } : error
}
