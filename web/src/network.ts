// The switch that takes all tabs of this browser offline, without touching
// the network, so that everything can be tried on one machine.

const key = 'culvert-demo:offline'
const watchers: ((offline: boolean) => void)[] = []
let cut = new AbortController()

const read = () => localStorage.getItem(key) === 'yes'
let off = read()

export const offline = (): boolean => off

/** Calls f whenever the switch is turned, here or in another tab. */
export const watch = (f: (offline: boolean) => void): void => void watchers.push(f)

export function turn(to: boolean): void {
  localStorage.setItem(key, to ? 'yes' : 'no')
  apply(to)
}

addEventListener('storage', (e) => e.key === key && apply(read()))

function apply(to: boolean): void {
  if (to === off) return
  off = to
  cut.abort(new TypeError('offline'))
  cut = new AbortController()
  for (const f of watchers) f(to)
  // The events with which a browser reports its own network.
  dispatchEvent(new Event(to ? 'offline' : 'online'))
}

/** fetch; while the switch is set to offline, it fails as without a network. */
export const gate: typeof fetch = (input, init) => {
  if (off) return Promise.reject(new TypeError('offline'))
  const signal = init?.signal ? AbortSignal.any([init.signal, cut.signal]) : cut.signal
  return fetch(input, { ...init, signal })
}
