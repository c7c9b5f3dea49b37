import { nap } from './backoff.js'
import type { Clock } from './clock.js'
import { CulvertError } from './problem.js'

/** What of a JWT a client looks at; the server alone judges it. */
interface Claims { sub?: string; exp?: number; iat?: number }

/** The claims of a JWT; nothing of what is none, such as an API key. */
export function claims(token: string): Claims {
  try {
    const middle = token.split('.')[1]!.replace(/-/g, '+').replace(/_/g, '/')
    const bytes = Uint8Array.from(atob(middle), (c) => c.charCodeAt(0))
    return JSON.parse(new TextDecoder().decode(bytes))
  } catch {
    return {}
  }
}

/**
 * The token, from a constant or a callback. It is got anew before it expires, and
 * once when the server refuses it; all who need it at that moment share the call.
 */
export class Credentials {
  #source: string | (() => string | Promise<string>)
  #clock: Clock
  #current: Promise<string> | undefined
  #token = ''

  #failed: (error: CulvertError) => void

  /** failed is told of each time the callback throws. */
  constructor(
    source: string | (() => string | Promise<string>), clock: Clock, failed: (error: CulvertError) => void = () => {},
  ) {
    this.#source = source
    this.#clock = clock
    this.#failed = failed
  }

  get(): Promise<string> {
    return (this.#current ??= this.#fetch())
  }

  /** Whether another token than the refused one could be got. */
  async renew(refused: string): Promise<boolean> {
    if (typeof this.#source === 'string') return false
    if (refused === this.#token) {
      this.#token = '' // others may come with it, too
      this.#current = undefined
    }
    return (await this.get()) !== refused
  }

  /** The next request needs a new token. */
  expire(): void {
    if (typeof this.#source !== 'string') this.#current = undefined
  }

  /** Calls f whenever a new token was got because the old one is about to expire. */
  async watch(f: () => Promise<unknown>, signal: AbortSignal): Promise<void> {
    if (typeof this.#source === 'string') return
    while (!signal.aborted) {
      const { exp, iat } = claims(await this.get().catch(() => ''))
      // A device's clock may be wrong; how long the token lives is not.
      const life = exp ? exp * 1000 - (iat ? iat * 1000 : this.#clock.wall()) : 60_000
      await nap(this.#clock, Math.max(life - Math.min(30_000, life / 3), 1000), signal)
      if (!exp || signal.aborted) continue
      this.#current = undefined
      await this.get().then(f).catch(() => {})
    }
  }

  async #fetch(): Promise<string> {
    try {
      return (this.#token = typeof this.#source === 'string' ? this.#source : await this.#source())
    } catch (error) {
      this.#current = undefined
      const e = new CulvertError('no token: ' + ((error as Error)?.message ?? error))
      this.#failed(e)
      throw e
    }
  }
}
