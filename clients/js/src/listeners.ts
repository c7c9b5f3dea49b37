/** Handlers by name, called in the order they were added. */
export class Listeners<F extends (...args: any[]) => unknown> {
  #by = new Map<string, { f: F; once: boolean }[]>()

  add(name: string, f: F, once = false): void {
    this.#by.set(name, [...(this.#by.get(name) ?? []), { f, once }])
  }

  /** Removes a handler of a name, or all of them. */
  remove(name: string, f?: F): void {
    this.#by.set(name, f ? (this.#by.get(name) ?? []).filter((h) => h.f !== f) : [])
  }

  has(name: string): boolean {
    return !!this.#by.get(name)?.length
  }

  /** The handlers of a name; those for once are removed. */
  of(name: string): F[] {
    const all = this.#by.get(name) ?? []
    if (all.some((h) => h.once)) this.#by.set(name, all.filter((h) => !h.once))
    return all.map((h) => h.f)
  }
}
