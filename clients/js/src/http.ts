import { nap } from './backoff.js'
import type { Clock } from './clock.js'
import { CulvertError, read } from './problem.js'
import type { Credentials } from './token.js'

/** One request below /v1/{namespace}/. */
export interface Request {
  query?: Record<string, string | number | undefined>
  headers?: Record<string, string>
  /** JSON as text, or a value to be converted to JSON. */
  body?: unknown
  signal?: AbortSignal
  /** The page may close before the answer comes. */
  keepalive?: boolean
  /** Milliseconds to wait for the answer. Default: 5000. */
  patience?: number
}

/** Requests of one client to one namespace. */
export interface Http {
  /** Returns the answer, whatever it is; a refused token is renewed once. */
  send(method: string, path: string, o: Request): Promise<Response>
  /** Returns the answer of a successful request as JSON; every other answer is an error. */
  json(method: string, path: string, o: Request): Promise<any>
}

/** fetcher returns fetch anew each time, because pages replace it, and fetch must not be called with another `this`. */
export function createHttp(
  base: string, client: string | undefined, credentials: Credentials, clock: Clock,
  fetcher: typeof fetch = (...args: Parameters<typeof fetch>) => fetch(...args),
): Http {
  const send: Http['send'] = async (method, path, { query, headers, body, signal, keepalive }) => {
    const url = new URL(path, base)
    for (const [k, v] of Object.entries({ client, ...query })) {
      if (v !== undefined) url.searchParams.set(k, v as string)
    }
    const ask = async (token: string) => fetcher(url, {
      method,
      headers: { Authorization: 'Bearer ' + token, ...(body! && { 'Content-Type': 'application/json' }), ...headers },
      body: typeof body === 'object' ? JSON.stringify(body) : (body as string),
      cache: 'no-store',
      credentials: 'omit',
      keepalive: keepalive!,
      signal: signal!,
    })
    const token = await credentials.get()
    const answer = await ask(token)
    // The token is not valid yet: a new one would be valid even later.
    if (answer.status !== 401 || answer.headers.get('retry-after')) return answer
    const other = await credentials.get(token)
    return other === token ? answer : ask(other)
  }

  return {
    send,
    async json(method, path, o) {
      const abort = new AbortController()
      const rest = nap(clock, o.patience ?? 5000, o.signal)
      void rest.then(() => abort.abort(new CulvertError('no answer in time')))
      try {
        return await read(await send(method, path, { ...o, signal: abort.signal }))
      } finally {
        rest.wake()
      }
    },
  }
}
