import { memoryOutbox, type Item, type OutboxStore } from './outbox.js'

const table = 'items'

/**
 * An outbox in IndexedDB, which survives the page. Tabs share it by its name and take
 * turns by a lock of that name. If IndexedDB does not work, the outbox is in memory.
 */
export async function idbOutbox(name: string): Promise<OutboxStore> {
  let db: IDBDatabase
  try {
    db = await new Promise((resolve, reject) => {
      const request = indexedDB.open(name)
      request.onupgradeneeded = () => request.result.createObjectStore(table, { keyPath: 'id', autoIncrement: true })
      request.onsuccess = () => resolve(request.result)
      request.onerror = reject
    })
  } catch {
    return memoryOutbox()
  }

  /** Runs one transaction. Resolves, when it is on the disk, with the result of the request that f returns. */
  const change = <T>(mode: IDBTransactionMode, f: (items: IDBObjectStore) => IDBRequest<T> | void) =>
    new Promise<T>((resolve, reject) => {
      const t = db.transaction(table, mode)
      const request = f(t.objectStore(table))
      t.oncomplete = () => resolve((request as IDBRequest<T>)?.result)
      t.onabort = () => reject(t.error)
    })

  return {
    add: async (item, limit) => limit > (await change('readwrite', (items) => {
      const count = items.count()
      count.onsuccess = () => count.result < limit && items.add(item)
      return count
    })),
    peek: (n) => change('readonly', (items) => items.getAll(null, n) as IDBRequest<Item[]>),
    remove: (gone) => change('readwrite', (items) => gone.forEach((i) => items.delete((i as any).id))),
    alone: (f) => globalThis.navigator?.locks?.request(name, f) ?? f(),
  }
}
