// A proxy to the server that can be cut, and that can withhold an answer.
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { url } from './person.mjs'

const messages = /"key":"([^"]+)"[^}]*"event":"message"/g

/** Opens a proxy. It passes on everything, and records the keys of messages. */
export async function way() {
  const { hostname, port, pathname } = new URL(url)
  const open = new Set()
  const keys = []
  let held
  const server = createServer((from) => {
    const to = connect(port, hostname)
    for (const [a, b] of [[from, to], [to, from]]) {
      open.add(a)
      a.on('error', () => b.destroy()).on('close', () => open.delete(a) && b.destroy())
    }
    let holds
    from.on('data', (chunk) => {
      const found = [...chunk.toString().matchAll(messages)].map((m) => m[1])
      keys.push(...found)
      if (found.length && held) [holds, held] = [held, undefined]
      if (!holds || holds.reached) to.write(chunk)
      else holds.done()
    })
    to.on('data', (chunk) => (holds ? holds.done() : from.write(chunk)))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const cut = () => open.forEach((s) => s.destroy())
  return {
    url: `http://127.0.0.1:${server.address().port}${pathname}`,
    keys,
    cut,
    close: () => (cut(), server.close()),
    /**
     * Withholds the answer to the next message from the page, or the message from the
     * server. The promise resolves when the answer, or the message, has come.
     */
    hold: (reached) => new Promise((done) => (held = { reached, done })),
  }
}
