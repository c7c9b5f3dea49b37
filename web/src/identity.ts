/** What this browser asks for tokens with: the name that was chosen, and a secret of its own. */
export interface Asker {
  name: string
  /** Whoever has it is this client: it is sent to the server and to nobody else. */
  secret: string
}

/** Who this browser is. The server makes the client of the name and the secret. */
export interface Identity extends Asker {
  client: string
}

const key = 'culvert-demo:identity'

/** The identity this browser has; undefined before a name was chosen. */
export function known(): Identity | undefined {
  try {
    const who = JSON.parse(localStorage.getItem(key)!)
    return who.name && who.secret && who.client ? who : undefined
  } catch {
    return undefined
  }
}

/** Takes a name. Another secret is another client: it has its own place in the log. */
export function choose(name: string): Asker {
  const random = crypto.getRandomValues(new Uint8Array(16))
  return { name, secret: Array.from(random, (b) => b.toString(16).padStart(2, '0')).join('') }
}

export const keep = (who: Identity): void => localStorage.setItem(key, JSON.stringify(who))

export const forget = (): void => localStorage.removeItem(key)

/** The name to show for a client. */
export const nameOf = (client: string | null): string => client?.split('#')[0] || 'somebody'
