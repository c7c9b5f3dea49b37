/** Who this browser is: the name that was chosen, and what tells it from others of that name. */
export interface Identity {
  name: string
  device: string
}

const key = 'culvert-demo:identity'

/** The identity this browser has; undefined before a name was chosen. */
export function known(): Identity | undefined {
  try {
    const who = JSON.parse(localStorage.getItem(key)!)
    return who.name && who.device ? who : undefined
  } catch {
    return undefined
  }
}

/** Takes a name. Another device is another client: it has its own place in the log. */
export function choose(name: string): Identity {
  const device = Array.from(crypto.getRandomValues(new Uint8Array(12)), (b) => (b % 36).toString(36)).join('')
  const who = { name, device }
  localStorage.setItem(key, JSON.stringify(who))
  return who
}

export const forget = (): void => localStorage.removeItem(key)

export const clientOf = (who: Identity): string => `${who.name}#${who.device}`

/** The name to show for a client. */
export const nameOf = (client: string | null): string => client?.split('#')[0] || 'somebody'
