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
  const opened = new Promise<IDBDatabase>((resolve, reject) => {
    const r = indexedDB.open(name, 1)
    r.onupgradeneeded = () => r.result.createObjectStore('items', { autoIncrement: true }).createIndex('key', 'key')
    r.onsuccess = () => resolve(r.result)
    r.onerror = () => reject(r.error)
  })

  /** One transaction, over when it is on the disk. */
  const change = async <T>(mode: IDBTransactionMode, f: (items: IDBObjectStore) => Promise<T>): Promise<T> => {
    const t = (await opened).transaction('items', mode)
    const over = new Promise((resolve, reject) => {
      t.oncomplete = resolve
      t.onabort = () => reject(t.error)
    })
    const result = await Promise.race([f(t.objectStore('items')), over.then(() => undefined as T)])
    await over
    return result
  }

  const kept: OutboxStore = {
    add: (item: Item, limit: number) => change('readwrite', async (items) =>
      (await done(items.count())) < limit && !!(await done(items.add(item)))),
    peek: (n) => change('readonly', (items) => done<Item[]>(items.getAll(null, n))),
    remove: (keys) => change('readwrite', async (items) => {
      for (const key of keys) {
        const id = await done(items.index('key').getKey(key))
        if (id) items.delete(id)
      }
    }),
    alone: (f) => (globalThis.navigator?.locks ? navigator.locks.request(name, f) : f()) as Promise<void>,
  }
  const store = opened.then(() => kept, memoryOutbox)
  return {
    add: async (item, limit) => (await store).add(item, limit),
    peek: async (n) => (await store).peek(n),
    remove: async (keys) => (await store).remove(keys),
    alone: async (f) => (await store).alone(f),
  }
}
