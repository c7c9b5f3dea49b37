import { backoff, nap, type Nap } from './backoff.js'
import type { Clock } from './clock.js'
import { asked, CulvertError, foreign, temporary, type Facts } from './problem.js'
import type { Receipt } from './types.js'

/** An emit that waits to be stored; key is what keeps it from being stored twice. */
export interface Item {
  key: string
  /** The event as JSON, without its key: as it was when it was emitted. */
  body: string
}

/** Where emits wait. An array of them keeps the order they were added in. */
export interface OutboxStore {
  /** Adds an item; false when there are as many as may be. */
  add(item: Item, limit: number): Promise<boolean>
  /** The first n. */
  peek(n: number): Promise<Item[]>
  /** Removes the items with these keys. */
  remove(keys: string[]): Promise<void>
  /** Runs f while nobody else who shares the store does. */
  alone(f: () => Promise<void>): Promise<void>
}

/** An outbox that lasts as long as the program. */
export function memoryOutbox(): OutboxStore {
  let items: Item[] = []
  return {
    async add(item, limit) {
      return items.length < limit && items.push(item) > 0
    },
    peek: async (n) => items.slice(0, n),
    async remove(keys) {
      items = items.filter((i) => !keys.includes(i.key))
    },
    alone: (f) => f(),
  }
}

const most = 100 // events of one request
const bulk = 400_000 // characters of one request, of the megabyte a server takes

/** How an item ended; told to all who share the store. */
export interface Outcome {
  key: string
  receipt?: Receipt
  error?: Facts & { message: string }
}

/** What an outbox needs from outside. */
export interface Carrier {
  post(body: string): Promise<any>
  /** Tells the others who share the store. */
  tell(outcome: Outcome): void
  refused(error: CulvertError): void
}

interface Waiter {
  resolve: (r: Receipt) => void
  reject: (e: CulvertError) => void
}

/**
 * Sends what waits in a store, in order and as often as it takes. An item leaves it
 * when the server has answered for it; its key makes the repeat after a lost answer
 * a repeat and not a second event.
 */
export class Outbox {
  #waiters = new Map<string, Waiter>()
  #running = false
  #again = false
  #rest: Nap | undefined
  #most = most
  #failures = 0

  constructor(
    private store: OutboxStore, private limit: number, private clock: Clock,
    private carrier: Carrier, private signal: AbortSignal,
  ) {}

  /** Resolves when the event is stored on the server, rejects when it never will be. */
  async put(event: Record<string, unknown>): Promise<Receipt & { key: string }> {
    const key = crypto.randomUUID?.() ?? Array.from(crypto.getRandomValues(new Uint32Array(4)), (n) => n.toString(36)).join('-')
    const body = JSON.stringify(event)
    const done = new Promise<Receipt>((resolve, reject) => this.#waiters.set(key, { resolve, reject }))
    done.catch(() => {}) // the caller may not have come to wait for it yet
    if (!(await this.store.add({ key, body }, this.limit))) {
      this.#waiters.delete(key)
      throw new CulvertError(`the outbox is full: ${this.limit} events wait to be sent`)
    }
    this.kick()
    return { ...(await done), key }
  }

  /** Sends what waits, now; without waiting longer after a failure. */
  kick(): void {
    this.#rest?.wake()
    this.#again = true
    if (this.#running || this.signal.aborted) return
    this.#running = true
    void this.#run().finally(() => {
      this.#running = false
      if (this.#again) this.kick()
    })
  }

  /** Drains the store, again after failures; others may have their turn meanwhile. */
  async #run(): Promise<void> {
    while (!this.signal.aborted) {
      let error: unknown
      await this.store.alone(() => this.#drain()).catch((e) => (error = e))
      if (!error) return
      await (this.#rest = nap(this.clock, Math.max(asked(error), backoff(this.clock, this.#failures++)), this.signal))
    }
  }

  /** An answer for an item came; to us, or to somebody else who shares the store. */
  settle({ key, receipt, error }: Outcome, ours = false): void {
    const waiter = this.#waiters.get(key)
    this.#waiters.delete(key)
    if (!error) return waiter?.resolve(receipt!)
    const e = new CulvertError(error.message, error)
    waiter?.reject(e)
    if (waiter || ours) this.carrier.refused(e)
  }

  /** Lets go of those who wait; what waits to be sent stays in the store. */
  stop(): void {
    for (const { reject } of this.#waiters.values()) reject(new CulvertError('the socket was closed'))
    this.#waiters.clear()
  }

  /** Sends until nothing is left; fails when trying again later may help. */
  async #drain(): Promise<void> {
    while (!this.signal.aborted) {
      this.#again = false
      const items = fit(await this.store.peek(this.#most))
      if (!items.length) return
      try {
        await this.#send(items)
        this.#failures = 0
        this.#most = Math.min(most, this.#most * 2)
      } catch (error) {
        if (this.signal.aborted) return
        if (temporary(error)) throw error
        // Of a batch nothing is stored: find out who is at fault.
        if (items.length > 1) this.#most = 1
        else await this.#end(items, () => ({ error: { ...(error as CulvertError), message: (error as CulvertError).message } }))
      }
    }
  }

  async #send(items: Item[]): Promise<void> {
    const events = items.map(({ key, body }) => withKey(body, key))
    const one = events.length === 1
    const answer = await this.carrier.post(one ? events[0]! : `{"events":[${events}]}`)
    const offsets: unknown = one ? [answer.offset] : answer.offsets
    if (!Array.isArray(offsets) || offsets.length !== items.length || typeof offsets[0] !== 'number') {
      throw foreign(200)
    }
    await this.#end(items, (i) => ({ receipt: { offset: offsets[i], cursor: answer.cursor } }))
  }

  async #end(items: Item[], how: (i: number) => Omit<Outcome, 'key'>): Promise<void> {
    await this.store.remove(items.map((i) => i.key))
    items.forEach(({ key }, i) => {
      const outcome = { key, ...how(i) }
      // Whoever waits may be in another tab, or gone with an earlier page.
      if (!this.#waiters.has(key)) this.carrier.tell(outcome)
      this.settle(outcome, true)
    })
  }
}

/** The JSON of an event with its key. */
export const withKey = (body: string, key: string): string => `{"key":"${key}",${body.slice(1)}`

/** As many of the first items as fit into one request, but at least one. */
function fit(items: Item[]): Item[] {
  let size = 0
  return items.filter((i, n) => (size += i.body.length) < bulk || n === 0)
}
