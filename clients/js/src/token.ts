import { bytes } from './binary.js'
import { nap, type Nap } from './backoff.js'
import type { Clock } from './clock.js'
import { CulvertError } from './problem.js'

/** What of a JWT a client looks at; the server alone judges it. */
interface Claims { sub?: string; exp?: number; iat?: number }

/** The claims of a JWT; nothing of what is none, such as an API key. */
export function claims(token: string): Claims {
  try {
    const json = bytes(token.split('.')[1]!.replace(/-/g, '+').replace(/_/g, '/'))
    return JSON.parse(new TextDecoder().decode(json))
  } catch {
    return {}
  }
}

/**
 * The token, from a constant or a callback. It is got anew before it expires, and
 * once when the server refuses it; all who need it at that moment share the call.
 */
export interface Credentials {
  get(): Promise<string>
  /** Whether another token than the refused one could be got. */
  renew(refused: string): Promise<boolean>
  /** The next request needs a new token. */
  expire(): void
  /** Calls f whenever a new token was got because the old one is about to expire. */
  watch(f: () => Promise<unknown>, signal: AbortSignal): Promise<void>
}

/** failed is told of each time the callback throws. */
export function createCredentials(
  source: string | (() => string | Promise<string>), clock: Clock, failed: (error: CulvertError) => void = () => {},
): Credentials {
  const fixed = typeof source === 'string'
  let current: Promise<string> | undefined
  let token = ''
  let rest: Nap | undefined

  const fetch = async () => {
    try {
      token = fixed ? source : await source()
      rest?.wake() // it lives until another time
      return token
    } catch (error) {
      current = undefined
      const e = new CulvertError('no token: ' + ((error as Error)?.message ?? error), { retryAfter: (error as CulvertError)?.retryAfter })
      failed(e)
      throw e
    }
  }
  const get = () => (current ??= fetch())

  return {
    get,
    async renew(refused) {
      if (fixed) return false
      if (refused === token) {
        token = '' // others may come with it, too
        current = undefined
      }
      return (await get()) !== refused
    },
    expire() {
      if (!fixed) current = undefined
    },
    async watch(f, signal) {
      while (!fixed && !signal.aborted) {
        const known = await get().catch(() => '')
        const { exp, iat } = claims(known)
        // A device's clock may be wrong; how long the token lives is not.
        const life = exp ? exp * 1000 - (iat ? iat * 1000 : clock.wall()) : 60_000
        await (rest = nap(clock, Math.max(life - Math.min(30_000, life / 3), 1000), signal))
        if (!exp || signal.aborted || known !== token) continue
        current = undefined
        await get().then(f).catch(() => {})
      }
    },
  }
}
