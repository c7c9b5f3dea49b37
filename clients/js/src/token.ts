import { nap } from './backoff.js'
import { bytes } from './binary.js'
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
  /** The token; another one than that which was refused, if it can be got. */
  get(refused?: string): Promise<string>
  /** The next request needs a new token. */
  expire(): void
}

const enough = 30_000 // for the callback

/**
 * failed is told of each time the callback throws, gives no token, or none in time; renewed is called when a new token
 * was got because the old one is about to expire. Ends with the signal.
 */
export function createCredentials(
  source: string | (() => string | Promise<string>), clock: Clock, signal: AbortSignal,
  failed: (error: CulvertError) => void, renewed: () => Promise<unknown>,
): Credentials {
  const fixed = typeof source === 'string'
  let current: Promise<string> | undefined
  let token = ''
  let cancel = () => {}
  signal.addEventListener('abort', () => cancel())

  const fetch = async () => {
    const rest = nap(clock, enough, signal)
    try {
      token = fixed ? source : await Promise.race([source(), rest.then(() => {
        throw new Error('the callback took over 30 s')
      })])
      if (!token || typeof token !== 'string') {
        token = ''
        throw new TypeError('a string that is not empty is wanted')
      }
      watch()
      return token
    } catch (error) {
      signal.throwIfAborted() // closed meanwhile
      current = await undefined // a callback may throw at once, before there is anything to forget
      const e = new CulvertError('no token: ' + ((error as Error)?.message ?? error), { retryAfter: (error as CulvertError)?.retryAfter })
      failed(e)
      throw e
    } finally {
      rest.wake()
    }
  }

  /** Gets another token before this one expires. */
  function watch(): void {
    cancel()
    const { exp, iat } = claims(token)
    if (!exp || fixed || signal.aborted) return
    // A device's clock may be wrong; how long the token lives is not.
    const life = (exp - (iat ?? clock.wall() / 1000)) * 1000
    cancel = clock.after(Math.max(life - Math.min(30_000, life / 3), 1000), () => {
      current = undefined
      get().then(renewed).catch(() => {})
    })
  }

  function get(refused?: string): Promise<string> {
    if (refused && refused === token) {
      token = '' // others may come with it, too
      expire()
    }
    return (current ??= fetch())
  }

  function expire(): void {
    if (!fixed) current = undefined
  }

  return { get, expire }
}
