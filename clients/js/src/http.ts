import type { Clock } from './clock.js'
import { CulvertError, problem } from './problem.js'
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
  /** Told how long a request took that the server answers at once. */
  sample: (ms: number) => void = () => {}

  #base: string
  #client: string | undefined
  #credentials: Credentials
  #fetch: typeof fetch
  #clock: Clock

  constructor(base: string, client: string | undefined, credentials: Credentials, clock: Clock, fetcher?: typeof fetch) {
    this.#base = base
    this.#client = client
    this.#credentials = credentials
    this.#clock = clock
    // Found anew each time: pages replace it, and it must not be called as our method.
    this.#fetch = fetcher ?? ((...args) => fetch(...args))
  }

  /** The answer, whatever it is; a refused token is renewed once. */
  async send(method: string, path: string, o: Request = {}): Promise<Response> {
    const url = this.#base + path + query({ client: this.#client, ...o.query })
    const json = o.body !== undefined
    const token = await this.#credentials.get()
    const ask = (bearer: string) => this.#fetch(url, {
      method,
      headers: { Authorization: 'Bearer ' + bearer, ...(json && { 'Content-Type': 'application/json' }), ...o.headers },
      cache: 'no-store',
      credentials: 'omit',
      ...(json && { body: typeof o.body === 'string' ? o.body : JSON.stringify(o.body) }),
      ...(o.signal && { signal: o.signal }),
      ...(o.keepalive && { keepalive: true }),
    })
    const answer = await ask(token)
    if (answer.status !== 401 || !(await this.#credentials.renew(token))) return answer
    void answer.body?.cancel().catch(() => {})
    return ask(await this.#credentials.get())
  }

  /** The answer of a successful request, as JSON; everything else is an error. */
  async json(method: string, path: string, o: Request = {}): Promise<any> {
    const abort = new AbortController()
    const stop = () => abort.abort(o.signal?.reason)
    if (o.signal?.aborted) stop()
    o.signal?.addEventListener('abort', stop)
    const cancel = this.#clock.after(o.patience ?? 20_000, () => abort.abort(new CulvertError('no answer in time')))
    const began = this.#clock.now()
    try {
      const answer = await this.send(method, path, { ...o, signal: abort.signal })
      if (!o.patience) this.sample(this.#clock.now() - began)
      return await read(answer, this.#clock)
    } finally {
      cancel()
      o.signal?.removeEventListener('abort', stop)
    }
  }
}

/**
 * Reads JSON that only Culvert can have sent. A page with status 200 by something
 * on the way, which wants a password or payment first, must not pass for it.
 */
export async function read(answer: Response, clock: Clock): Promise<any> {
  if (!answer.ok) throw await problem(answer, clock.wall())
  const text = await answer.text()
  try {
    const body = JSON.parse(text)
    if (body && typeof body === 'object') return body
  } catch {}
  throw new CulvertError('the answer is not JSON', answer.status, '', undefined, 0, true)
}

function query(values: Record<string, string | number | undefined>): string {
  const parts = Object.entries(values)
    .filter(([, v]) => v !== undefined)
    .map(([k, v]) => k + '=' + encodeURIComponent(v!))
  return parts.length ? '?' + parts.join('&') : ''
}
