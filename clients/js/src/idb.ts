import { memoryOutbox, type Item, type OutboxStore } from './outbox.js'

const done = <T>(r: IDBRequest<T>) =>
  new Promise<T>((resolve, reject) => {
    r.onsuccess = () => resolve(r.result)
    r.onerror = () => reject(r.error)
  })

/**
 * An outbox in IndexedDB, which survives the page. Tabs share it by its name and take
 * turns by a lock of that name. Where IndexedDB does not work, it is one in memory.
 */
export function idbOutbox(name: string): OutboxStore {
  /** One transaction, over when it is on the disk. */
  const change = async <T>(mode: IDBTransactionMode, f: (items: IDBObjectStore) => Promise<T>): Promise<T> => {
    const t = (await opened).transaction(table, mode)
    const over = new Promise<any>((resolve, reject) => {
      t.oncomplete = resolve
      t.onabort = () => reject(t.error)
    })
    const result = await Promise.race([f(t.objectStore(table)), over])
    await over
    return result
  }

  const open = async () => {
    const request = indexedDB.open(name, 1)
    request.onupgradeneeded = () => request.result.createObjectStore(table, { keyPath: 'id', autoIncrement: true })
    return done(request)
  }

  const opened = open()
  const kept: OutboxStore = {
    add: (item, limit) => change('readwrite', async (items) => (await done(items.count())) < limit && !!(await done(items.add(item)))),
    peek: (n) => change('readonly', (items) => done<Item[]>(items.getAll(null, n))),
    remove: (gone) => change('readwrite', async (items) => gone.forEach((i) => items.delete((i as any).id))),
    alone: (f) => globalThis.navigator?.locks?.request(name, f) ?? f(),
  }
  const store = opened.then(() => kept, memoryOutbox)
  return {
    add: async (item, limit) => (await store).add(item, limit),
    peek: async (n) => (await store).peek(n),
    remove: async (items) => (await store).remove(items),
    alone: async (f) => (await store).alone(f),
  }
}

const table = 'items'
