import { type Asker } from './identity.js'
import { gate } from './network.js'

export const namespace = 'demo'

/** Where the server is: one folder above the page. */
export const base = new URL('..', location.href).href

/** A message as the log has it. */
export interface Stored {
  offset: number
  event: string
  data: { id?: unknown; text?: unknown } | null
  from: string | null
  at: string
}

export interface Person {
  client: string
  online: boolean
}

/** The routes of the API for which the client library has no call. */
export class Server {
  /** How many tokens this page got. */
  tokens = 0
  /** Why there is no token; empty if there is one. */
  refused = ''
  /** The client of the last token. */
  client = ''
  #token: Promise<string> | undefined

  constructor(private who: Asker, private turned: () => void) {}

  /** Gets a new token; the library calls this when it needs one. */
  token(): Promise<string> {
    const got = this.#fetchToken()
    this.#token = got
    got.catch(() => (this.#token = undefined))
    return got
  }

  /** The newest messages of a room, oldest first. */
  async history(room: string): Promise<Stored[]> {
    let kept: Stored[] = []
    for (let after = ''; ; ) {
      const query = new URLSearchParams({ limit: '1000', ...(after && { after }) })
      const page = await this.#get(`rooms/${encodeURIComponent(room)}/events?${query}`)
      kept = [...kept, ...page.events.filter((e: Stored) => e.event === 'message')].slice(-200)
      if (!page.more) return kept
      after = page.cursor
    }
  }

  async people(room: string): Promise<Person[]> {
    return (await this.#get(`rooms/${encodeURIComponent(room)}/clients?limit=200`)).clients
  }

  /** The rooms this client is in. */
  async rooms(): Promise<string[]> {
    return (await this.#get('clients/me')).rooms
  }

  async #get(path: string): Promise<any> {
    const ask = async () => gate(`${base}v1/${namespace}/${path}`, {
      headers: { Authorization: `Bearer ${await (this.#token ?? this.token())}`, Accept: 'application/json' },
    })
    let answer = await ask()
    if (answer.status === 401) {
      this.#token = undefined
      answer = await ask()
    }
    if (!answer.ok) throw new Error(`HTTP status ${answer.status}`)
    return answer.json()
  }

  async #fetchToken(): Promise<string> {
    const ttl = Number(new URLSearchParams(location.search).get('ttl')) || undefined
    const answer = await gate(new URL('token', location.href), {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ name: this.who.name, secret: this.who.secret, ttl }),
    })
    const body = await answer.json().catch(() => ({})) // the answer may come from a proxy
    this.refused = answer.ok && body.token ? '' : (body.detail ?? `HTTP status ${answer.status}`)
    if (!this.refused) {
      this.tokens++
      this.client = body.client
    }
    this.turned()
    if (this.refused) throw new Error(this.refused)
    return body.token
  }
}
