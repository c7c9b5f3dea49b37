import { nap, type Retries } from './backoff.js'
import { value } from './binary.js'
import type { Clock } from './clock.js'
import type { Http } from './http.js'
import { newKey, withKey } from './outbox.js'
import { CulvertError } from './problem.js'
import type { Reply } from './types.js'

/**
 * Emits an event that asks for replies, and waits for them. put stores the event after the events
 * that were emitted before; then requests with the same key wait for the replies. If such a
 * request is cut, it is repeated. An event that could not be stored in time is removed from the
 * outbox, because its caller may ask again.
 */
export async function ask(
  http: Http, clock: Clock, signal: AbortSignal, persist: Retries['persist'],
  body: { reply?: { count?: number | undefined } }, timeout: number,
  put: (text: string, key: string) => Promise<unknown>, withdraw: (key: string) => Promise<void>,
): Promise<Reply[]> {
  const until = clock.now() + timeout
  const over = new CulvertError(`no reply in ${timeout} ms`)
  const text = JSON.stringify(body)
  const key = newKey()
  const rest = nap(clock, timeout, signal)
  try {
    if (!(await Promise.race([put(text, key), rest]))) {
      signal.throwIfAborted() // the event stays in the outbox for the next page
      withdraw(key).catch(() => {})
      throw over
    }
  } finally {
    rest.wake()
  }
  for (;;) {
    const left = Math.max(until - clock.now(), 0)
    const wait = Math.min(left / 1000, 20)
    const { complete, replies } = await persist(() => http.json('POST', 'emit', {
      query: { wait: wait.toFixed(3) }, body: withKey(text, key), patience: wait * 1000 + 10_000, signal,
    }), until)
    if (!complete && left > wait * 1000) continue
    if (!replies[0] && body.reply!.count) throw over
    return replies.map((r: any) => ({ from: r.from, data: value(r) }))
  }
}
