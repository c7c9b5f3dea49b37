import { patience, type Retries } from './backoff.js'
import { CulvertError, foreign, temporary, type Facts } from './problem.js'
import type { Receipt } from './types.js'

/** An emit that waits to be stored; its key prevents that it is stored twice. */
export interface Item {
  key: string
  /** The event as JSON, without its key, made when it was emitted. */
  body: string
}

/** Where emits wait, in the order in which they were added. */
export interface OutboxStore {
  /** Adds an item; returns false if there are as many as the limit already. */
  add(item: Item, limit: number): Promise<boolean>
  /** Returns the first n items. */
  peek(n: number): Promise<Item[]>
  /** Removes items that peek returned. */
  remove(items: Item[]): Promise<void>
  /** Runs f while no other tab that shares the store runs one. */
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
const bulk = 400_000 // characters of one request, well below the megabyte that a server accepts

/** How an item ended; all tabs that share the store learn it. */
export interface Outcome {
  key: string
  receipt?: Receipt
  error?: Facts & { message: string }
}

/** What an outbox needs from outside. */
export interface Carrier {
  post(body: string, patience: number): Promise<any>
  /** Tells the other tabs that share the store. */
  tell(outcome: Outcome): void
  refused(error: CulvertError): void
}

/**
 * Sends the items of a store in order, repeatedly if necessary. An item is removed
 * when the server has answered for it; because of its key, a repeat after a lost answer
 * is not stored as a second event.
 */
export interface Outbox {
  /** Adds an event as JSON. Resolves when the server has stored it, rejects when it never will. */
  put(body: string, key: string): Promise<Receipt>
  /** Removes an event, unless it is being sent. */
  withdraw(key: string): Promise<void>
  /** Sends what waits, when it is time to. */
  start(): void
  /** An answer for an item came, to this tab or to another one that shares the store. */
  settle(outcome: Outcome): void
}

/** A key that no other emit has. */
export const newKey = (): string =>
  // Pages of plain http have no randomUUID.
  crypto.getRandomValues(new Uint32Array(4)).join('-')

/** The signal ends the waits of callers; unsent items stay in the store. */
export function createOutbox(
  opening: Promise<OutboxStore>, limit: number, persist: Retries['persist'], carrier: Carrier, signal: AbortSignal,
): Outbox {
  const waiters = new Map<string, (e?: CulvertError, r?: Receipt) => void>()
  let running = false
  let again = false
  let size = most

  signal.addEventListener('abort', () => {
    for (const done of waiters.values()) done(signal.reason)
    waiters.clear()
  })

  return {
    put,
    async withdraw(key) {
      const store = await opening
      await store.remove((await store.peek(limit)).filter((i) => i.key === key))
    },
    start,
    settle,
  }

  async function put(body: string, key: string): Promise<Receipt> {
    const done = new Promise<Receipt>((resolve, reject) => waiters.set(key, (e, r) => (e ? reject(e) : resolve(r!))))
    done.catch(() => {}) // the caller may not wait for it yet
    if (!(await (await opening).add({ key, body }, limit))) {
      settle({ key, error: { message: `the outbox is full: ${limit} events wait` } }, true)
    } else if (signal.aborted) throw signal.reason // the event stays in the store for the next page
    else start()
    return done
  }

  /** Sends what waits, when it is time to. */
  function start(): void {
    again = true
    run().catch(() => {}) // closed
  }

  /** Sends until nothing is left; between two requests, other tabs that share the store may send. */
  async function run(): Promise<void> {
    if (running) return
    running = true
    try {
      while (again) await persist(async (failures) => (await opening).alone(() => send(failures)))
    } finally {
      running = false
    }
  }

  function settle({ key, receipt, error }: Outcome, ours?: boolean): void {
    const waiter = waiters.get(key)
    waiters.delete(key)
    const e = error && new CulvertError(error.message, error)
    waiter?.(e, receipt)
    if (e && (waiter || ours)) carrier.refused(e)
  }

  /** Sends what fits into one request; fails when trying again later may help. */
  async function send(failures: number): Promise<void> {
    const store = await opening
    again = false
    let length = 0
    const items = (await store.peek(size)).filter((i, n) => (length += i.body.length) < bulk || !n)
    if (!items[0]) return
    again = true
    const events = items.map(({ key, body }) => withKey(body, key))
    const text = items[1] ? `{"events":[${events}]}` : events[0]!
    let outcome: (i: number) => Omit<Outcome, 'key'>
    try {
      const { offset, offsets = [offset], cursor } = await carrier.post(text, patience(failures, text.length))
      if (offsets.length !== items.length || typeof offsets[0] !== 'number') throw foreign(200)
      outcome = (i) => ({ receipt: { offset: offsets[i], cursor } })
      size = Math.min(most, size * 2)
    } catch (error) {
      if (temporary(error)) throw error
      // Nothing of the batch is stored: send items one by one to find the invalid one.
      size = 1
      if (items[1]) return
      outcome = () => ({ error: { ...(error as CulvertError), message: (error as CulvertError).message } })
    }
    await store.remove(items)
    items.forEach(({ key }, i) => {
      const end = { key, ...outcome(i) }
      // The caller that waits may be in another tab, or on a page that was closed.
      if (!waiters.has(key)) carrier.tell(end)
      settle(end, true)
    })
  }
}

/** The JSON of an event with its key. */
export const withKey = (body: string, key: string): string => `{"key":"${key}",${body.slice(1)}`
