// Hostile TCP proxies in front of the server.
import { once } from 'node:events'
import { createServer, request } from 'node:http'
import { connect, createServer as createTCP, type Server, type Socket } from 'node:net'

/** withholds: every body until its end. kills: every connection at 3 s. resets: after a random number of bytes. */
export type Kind = 'withholds' | 'kills' | 'resets'

export async function proxy(to: URL, kind: Kind): Promise<{ url: string; close(): Promise<void> }> {
  const open = new Set<Socket>()
  const server: Server = kind === 'withholds' ? withholding(to) : createTCP((from) => {
    const there = connect(+to.port, to.hostname)
    const end = () => {
      from.resetAndDestroy()
      there.destroy()
    }
    for (const s of [from, there]) s.on('error', end).on('close', end)
    if (kind === 'kills') setTimeout(end, 3000).unref()
    else {
      let left = 500 + Math.random() * 4000
      there.on('data', (b) => {
        if ((left -= b.length) < 0) {
          from.write(b.subarray(0, b.length + left), end)
          there.removeAllListeners('data')
        } else from.write(b)
      })
    }
    from.pipe(there)
    if (kind === 'kills') there.pipe(from)
  })
  server.on('connection', (s: Socket) => {
    open.add(s)
    s.on('close', () => open.delete(s))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as { port: number }).port}`,
    async close() {
      for (const s of open) s.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

function withholding(to: URL): Server {
  return createServer((from, back) => {
    const there = request({
      host: to.hostname, port: to.port, method: from.method, path: from.url, headers: from.headers,
    }, async (answer) => {
      const parts: Buffer[] = []
      try {
        for await (const part of answer) parts.push(part)
        const { 'content-length': _, 'transfer-encoding': __, ...headers } = answer.headers
        back.writeHead(answer.statusCode!, headers).end(Buffer.concat(parts))
      } catch {
        back.destroy()
      }
    })
    there.on('error', () => back.destroy())
    back.on('close', () => there.destroy())
    from.pipe(there)
  })
}
