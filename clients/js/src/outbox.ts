import { backoff, nap, patience, type Nap } from './backoff.js'
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
  /** Removes items that peek returned. */
  remove(items: Item[]): Promise<void>
  /** Runs f while nobody else who shares the store does. */
  alone(f: () => Promise<void>): Promise<void>
}

/** An outbox that lasts as long as the program. */
export function memoryOutbox(): OutboxStore {
  let items: Item[] = []
  return {
    add: async (item, limit) => items.length < limit && items.push(item) > 0,
    peek: async (n) => items.slice(0, n),
    async remove(gone) {
      items = items.filter((i) => !gone.includes(i))
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
  post(body: string, patience: number): Promise<any>
  /** Tells the others who share the store. */
  tell(outcome: Outcome): void
  refused(error: CulvertError): void
}

/**
 * Sends what waits in a store, in order and as often as it takes. An item leaves it
 * when the server has answered for it; its key makes the repeat after a lost answer
 * a repeat and not a second event.
 */
export interface Outbox {
  /** Takes an event as JSON. Resolves when it is stored on the server, rejects when it never will be. */
  put(body: string, key: string): Promise<Receipt>
  /** Takes an event back, unless it is on its way. */
  withdraw(key: string): Promise<void>
  /** Sends what waits, now; without waiting longer after a failure. */
  kick(): void
  /** An answer for an item came; to us, or to somebody else who shares the store. */
  settle(outcome: Outcome): void
}

/** A key that no other emit has. */
export const newKey = (): string =>
  // Pages of plain http have no randomUUID.
  crypto.randomUUID?.() ?? crypto.getRandomValues(new Uint32Array(4)).join('-')

/** The signal lets go of those who wait; what waits to be sent stays in the store. */
export function createOutbox(store: OutboxStore, limit: number, clock: Clock, carrier: Carrier, signal: AbortSignal): Outbox {
  const waiters = new Map<string, { resolve: (r: Receipt) => void; reject: (e: CulvertError) => void }>()
  let running = false
  let again = false
  let rest: Nap | undefined
  let size = most
  let failures = 0

  signal.addEventListener('abort', () => {
    for (const { reject } of waiters.values()) reject(signal.reason)
    waiters.clear()
  })

  return {
    put,
    withdraw: async (key) => store.remove((await store.peek(limit)).filter((i) => i.key === key)),
    kick,
    settle,
  }

  async function put(body: string, key: string): Promise<Receipt> {
    const done = new Promise<Receipt>((resolve, reject) => waiters.set(key, { resolve, reject }))
    done.catch(() => {}) // the caller may not have come to wait for it yet
    if (!(await store.add({ key, body }, limit))) {
      waiters.delete(key)
      const full = new CulvertError(`the outbox is full: ${limit} events wait to be sent`)
      carrier.refused(full)
      throw full
    }
    if (signal.aborted) throw signal.reason // it waits for the next page
    start()
    return done
  }

  function kick(): void {
    rest?.wake()
    start()
  }

  /** Sends what waits, when it is time to. */
  function start(): void {
    again = true
    if (running || signal.aborted) return
    running = true
    void run().finally(() => {
      running = false
      if (again) start()
    })
  }

  /** Drains the store, again after failures; others may have their turn meanwhile. */
  async function run(): Promise<void> {
    while (!signal.aborted) {
      try {
        return await store.alone(drain)
      } catch (error) {
        await (rest = nap(clock, Math.max(asked(error), backoff(clock, failures++)), signal))
      }
    }
  }

  function settle({ key, receipt, error }: Outcome, ours = false): void {
    const waiter = waiters.get(key)
    waiters.delete(key)
    if (!error) return waiter?.resolve(receipt!)
    const e = new CulvertError(error.message, error)
    waiter?.reject(e)
    if (waiter || ours) carrier.refused(e)
  }

  /** Sends until nothing is left; fails when trying again later may help. */
  async function drain(): Promise<void> {
    while (!signal.aborted) {
      again = false
      const items = fit(await store.peek(size))
      if (!items.length) return
      try {
        await send(items)
        failures = 0
        size = Math.min(most, size * 2)
      } catch (error) {
        if (signal.aborted) return
        if (temporary(error)) throw error
        // Of a batch nothing is stored: find out who is at fault.
        if (items.length > 1) size = 1
        else await end(items, () => ({ error: { ...(error as CulvertError), message: (error as CulvertError).message } }))
      }
    }
  }

  async function send(items: Item[]): Promise<void> {
    const events = items.map(({ key, body }) => withKey(body, key))
    const text = events[1] ? `{"events":[${events}]}` : events[0]!
    const { offset, offsets = [offset], cursor } = await carrier.post(text, patience(failures, text.length))
    if (offsets.length !== items.length || typeof offsets[0] !== 'number') throw foreign(200)
    await end(items, (i) => ({ receipt: { offset: offsets[i], cursor } }))
  }

  async function end(items: Item[], how: (i: number) => Omit<Outcome, 'key'>): Promise<void> {
    await store.remove(items)
    items.forEach(({ key }, i) => {
      const outcome = { key, ...how(i) }
      // Whoever waits may be in another tab, or gone with an earlier page.
      if (!waiters.has(key)) carrier.tell(outcome)
      settle(outcome, true)
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
