import { nap } from './backoff.js'
import { bytes } from './binary.js'
import type { Clock } from './clock.js'
import { CulvertError } from './problem.js'

/** The claims of a JWT that a client reads; only the server verifies it. */
interface Claims { sub?: string; exp?: number; iat?: number }

/** The claims of a JWT; an empty object for any other token, such as an API key. */
export function claims(token: string): Claims {
  try {
    const json = bytes(token.split('.')[1]!.replace(/-/g, '+').replace(/_/g, '/'))
    return JSON.parse(new TextDecoder().decode(json))
  } catch {
    return {}
  }
}

/**
 * The token, from a constant or a callback. The callback is called again before the token expires, and
 * once when the server refuses it; all requests that need a token meanwhile share the call.
 */
export interface Credentials {
  /** Returns the token; another one than the refused one, if the callback gives one. */
  get(refused?: string): Promise<string>
  /** The next request needs a new token. */
  expire(): void
}

const enough = 30_000 // for the callback

/**
 * failed is called each time the callback throws, gives no token, or none in time. renewed is called after a new token
 * replaced one that was about to expire. Ends with the signal.
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
        throw new TypeError('the callback must return a string that is not empty')
      }
      watch()
      return token
    } catch (error) {
      signal.throwIfAborted() // closed meanwhile
      current = await undefined // a callback may throw at once, before current is set
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
    // A device's clock may be wrong, so only the difference of exp and iat is used.
    const life = (exp - (iat ?? clock.wall() / 1000)) * 1000
    cancel = clock.after(Math.max(life - Math.min(30_000, life / 3), 1000), () => {
      current = undefined
      get().then(renewed).catch(() => {})
    })
  }

  function get(refused?: string): Promise<string> {
    if (refused && refused === token) {
      token = '' // so that other requests do not use it either
      expire()
    }
    return (current ??= fetch())
  }

  function expire(): void {
    if (!fixed) current = undefined
  }

  return { get, expire }
}
