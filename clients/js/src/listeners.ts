/** Handlers by name, called in the order they were added. */
export interface Listeners<F extends (...args: any[]) => unknown> {
  add(name: string, f: F, once?: boolean): void
  /** Removes a handler of a name, or all of them. */
  remove(name: string, f?: F): void
  /** The handlers of a name; those for once are removed. */
  of(name: string): F[]
}

export function createListeners<F extends (...args: any[]) => unknown>(): Listeners<F> {
  const by = new Map<string, { f: F; once: boolean }[]>()
  const all = (name: string) => by.get(name) ?? []
  return {
    add(name, f, once = false) {
      by.set(name, [...all(name), { f, once }])
    },
    remove(name, f) {
      by.set(name, all(name).filter((h) => f && h.f !== f))
    },
    of(name) {
      const found = all(name)
      by.set(name, found.filter((h) => !h.once))
      return found.map((h) => h.f)
    },
  }
}
