import { patience, type Retries } from './backoff.js'
import { CulvertError, foreign, temporary, type Facts } from './problem.js'
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
  /** Sends what waits, when it is time to. */
  start(): void
  /** An answer for an item came; to us, or to somebody else who shares the store. */
  settle(outcome: Outcome): void
}

/** A key that no other emit has. */
export const newKey = (): string =>
  // Pages of plain http have no randomUUID.
  crypto.getRandomValues(new Uint32Array(4)).join('-')

/** The signal lets go of those who wait; what waits to be sent stays in the store. */
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
    done.catch(() => {}) // the caller may not have come to wait for it yet
    if (!(await (await opening).add({ key, body }, limit))) {
      settle({ key, error: { message: `the outbox is full: ${limit} events wait` } }, true)
    } else if (signal.aborted) throw signal.reason // it waits for the next page
    else start()
    return done
  }

  /** Sends what waits, when it is time to. */
  function start(): void {
    again = true
    run().catch(() => {}) // closed
  }

  /** Sends until nothing is left; between two requests, others who share the store may. */
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
      // Of a batch nothing is stored: find out who is at fault.
      size = 1
      if (items[1]) return
      outcome = () => ({ error: { ...(error as CulvertError), message: (error as CulvertError).message } })
    }
    await store.remove(items)
    items.forEach(({ key }, i) => {
      const end = { key, ...outcome(i) }
      // Whoever waits may be in another tab, or gone with an earlier page.
      if (!waiters.has(key)) carrier.tell(end)
      settle(end, true)
    })
  }
}

/** The JSON of an event with its key. */
export const withKey = (body: string, key: string): string => `{"key":"${key}",${body.slice(1)}`
