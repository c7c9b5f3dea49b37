/** What this browser sends to get a token: the chosen name, and its own secret. */
export interface Asker {
  name: string
  /** Anybody who knows it can act as this client, so it is sent only to the server. */
  secret: string
}

/** Who this browser is. The server derives the client from the name and the secret. */
export interface Identity extends Asker {
  client: string
}

const key = 'culvert-demo:identity'

/** The identity of this browser; undefined before a name was chosen. */
export function known(): Identity | undefined {
  try {
    const who = JSON.parse(localStorage.getItem(key)!)
    return who.name && who.secret && who.client ? who : undefined
  } catch {
    return undefined
  }
}

/** Stores the chosen name with a new secret. Another secret makes another client, with its own position. */
export function choose(name: string): Asker {
  const random = crypto.getRandomValues(new Uint8Array(16))
  return { name, secret: Array.from(random, (b) => b.toString(16).padStart(2, '0')).join('') }
}

export const keep = (who: Identity): void => localStorage.setItem(key, JSON.stringify(who))

export const forget = (): void => localStorage.removeItem(key)

/** The name to show for a client. */
export const nameOf = (client: string | null): string => client?.split('#')[0] || 'somebody'
