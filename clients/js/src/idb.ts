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
  const memory = memoryOutbox()
  let lost = false
  const opened = new Promise<IDBDatabase>((resolve, reject) => {
    const r = indexedDB.open(name, 1)
    r.onupgradeneeded = () => r.result.createObjectStore('items', { autoIncrement: true }).createIndex('key', 'key')
    r.onsuccess = () => resolve(r.result)
    r.onerror = r.onblocked = () => reject(r.error)
  })
  opened.catch(() => (lost = true))

  /** One transaction, over when it is on the disk. */
  async function change<T>(mode: IDBTransactionMode, f: (items: IDBObjectStore) => Promise<T>): Promise<T> {
    const t = (await opened).transaction('items', mode)
    const over = new Promise<void>((resolve, reject) => {
      t.oncomplete = () => resolve()
      t.onabort = t.onerror = () => reject(t.error)
    })
    over.catch(() => {})
    const result = await f(t.objectStore('items'))
    await over
    return result
  }

  const either = async <T>(f: () => Promise<T>, instead: () => Promise<T>): Promise<T> => {
    if (lost) return instead()
    try {
      return await f()
    } catch {
      lost = true // a private window, a full disk: better in memory than not at all
      return instead()
    }
  }

  return {
    add: (item: Item, limit: number) => either(() => change('readwrite', async (items) => {
      if ((await done(items.count())) >= limit) return false
      await done(items.add(item))
      return true
    }), () => memory.add(item, limit)),
    peek: (n) => either(() => change('readonly', (items) => done<Item[]>(items.getAll(null, n))), () => memory.peek(n)),
    remove: (keys) => either(() => change('readwrite', async (items) => {
      for (const key of keys) {
        const id = await done(items.index('key').getKey(key))
        if (id !== undefined) items.delete(id)
      }
    }), () => memory.remove(keys)),
    alone: (f) => (globalThis.navigator?.locks ? navigator.locks.request(name, f) : f()) as Promise<void>,
  }
}
