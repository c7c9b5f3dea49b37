// A fetch through a forward proxy: plain HTTP, with the whole URL in the request
// line. Node's own fetch cannot do this; this implementation is enough for a client.
import { Agent, request } from 'node:http'
import { Readable } from 'node:stream'

export function fetchThrough(proxy: { host: string; port: number }): typeof fetch {
  const agent = new Agent({ keepAlive: true })
  return (url, init = {}) => new Promise((resolve, reject) => {
    const { signal } = init
    const r = request({
      ...proxy, agent, path: `${url}`, method: init.method ?? 'GET', signal: signal ?? undefined,
      headers: { Host: new URL(`${url}`).host, ...(init.headers as Record<string, string>) },
    }, (answer) => {
      answer.on('error', () => {}) // the reader of the body gets the error, too
      const body = Readable.toWeb(answer) as ReadableStream<Uint8Array>
      resolve(new Response(body, { status: answer.statusCode, headers: answer.headers as HeadersInit }))
    })
    r.on('error', reject)
    r.end(init.body as string | undefined)
  })
}
