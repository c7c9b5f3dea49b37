import type { Clock } from './clock.js'
import { CulvertError, read } from './problem.js'
import type { Credentials } from './token.js'

/** One request below /v1/{namespace}/. */
export interface Request {
  query?: Record<string, string | number | undefined>
  headers?: Record<string, string>
  /** JSON, as text or as what becomes text. */
  body?: unknown
  signal?: AbortSignal
  /** Let the page go before the answer comes. */
  keepalive?: boolean
  /** Milliseconds to wait for the answer. */
  patience?: number
}

/** Requests of one client to one namespace. */
export class Http {
  /** fetcher is looked up anew each time: pages replace it, and it wants no other `this`. */
  constructor(
    private base: string, private client: string | undefined, private credentials: Credentials,
    private clock: Clock, private fetcher: typeof fetch = (...args) => fetch(...args),
  ) {}

  /** The answer, whatever it is; a refused token is renewed once. */
  async send(method: string, path: string, { query, headers, body, ...rest }: Request): Promise<Response> {
    const url = new URL(path, this.base)
    for (const [k, v] of Object.entries({ client: this.client, ...query })) {
      if (v !== undefined) url.searchParams.set(k, `${v}`)
    }
    const { fetcher } = this
    const ask = (token: string) => fetcher(url, {
      ...rest,
      method,
      headers: { Authorization: 'Bearer ' + token, ...(body ? { 'Content-Type': 'application/json' } : {}), ...headers },
      cache: 'no-store',
      credentials: 'omit',
      ...(body ? { body: typeof body === 'string' ? body : JSON.stringify(body) } : {}),
    })
    const token = await this.credentials.get()
    const answer = await ask(token)
    if (answer.status !== 401 || !(await this.credentials.renew(token))) return answer
    return ask(await this.credentials.get())
  }

  /** The answer of a successful request, as JSON; everything else is an error. */
  async json(method: string, path: string, { signal, patience = 20_000, ...o }: Request): Promise<any> {
    const abort = new AbortController()
    const stop = () => abort.abort(new CulvertError('no answer in time'))
    if (signal?.aborted) stop()
    signal?.addEventListener('abort', stop)
    const cancel = this.clock.after(patience, stop)
    try {
      return await read(await this.send(method, path, { ...o, signal: abort.signal }))
    } finally {
      cancel()
      signal?.removeEventListener('abort', stop)
    }
  }
}
