// The built package, in pages without a bundler, of another origin than the server's.
import { connect, type Socket } from '@culvert/client'
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { basename, join, resolve } from 'node:path'
import { after, before, test } from 'node:test'
import { Server, token } from './server.js'

const browsers = [
  { name: 'Chromium',
    args: (dir: string) => ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--disable-background-networking', '--user-data-dir=' + dir] },
  { name: 'Firefox',
    args: (dir: string) => ['--headless', '--no-remote', '--profile', dir] },
]

/** Asks scripts/need for a browser, for the test named what. The script decides whether the test is skipped, and counts that. */
function find(name: string, what: string): { program?: string; skip?: string } {
  const { status, stdout, stderr, error } = spawnSync(resolve('../../scripts/need'), ['find', name.toLowerCase(), what], { encoding: 'utf8' })
  if (status === 0) return { program: stdout.trim() }
  if (status === 3) return { skip: stderr.trim() }
  throw error ?? new Error(stderr)
}

const page = (module: string, server: string, token: string) => `<!doctype html><script type="module">
  const report = (o) => fetch('/report', { method: 'POST', body: JSON.stringify(o) })
  addEventListener('error', (e) => report({ fault: e.message }))
  addEventListener('unhandledrejection', (e) => report({ fault: String(e.reason) }))
  const { connect, CulvertWebSocket } = await import('./${module}')
  const socket = connect(${JSON.stringify(server)}, { token: ${JSON.stringify(token)} })
  socket.on('error', (e) => report({ fault: e.message }))
  const bytes = new Promise((done) => socket.on('bytes', (data) => done([...data])))
  await socket.join('lobby')
  const answer = await socket.to('lobby').except('@me').emitWithAck('question', 20)
  await socket.to('lobby').emit('bytes', new Uint8Array([1, 2, 255]))
  const found = { answer, bytes: await bytes, transport: socket.transport, webSocket: typeof CulvertWebSocket }
  await socket.close()
  await report(found)
</script>`

let told = (_: any) => {}
let html = ''
const site = createServer(async (q, r) => {
  if (q.url === '/report') {
    let text = ''
    for await (const chunk of q) text += chunk
    told(JSON.parse(text))
    r.end()
  } else if (q.url === '/') r.setHeader('Content-Type', 'text/html').end(html)
  else {
    const file = join('dist', basename(q.url!))
    if (existsSync(file)) r.setHeader('Content-Type', 'text/javascript').end(readFileSync(file))
    else r.writeHead(404).end()
  }
})
let origin: string
let server: Server
let other: Socket

before(async () => {
  site.listen(0, '127.0.0.1')
  await once(site, 'listening')
  origin = `http://127.0.0.1:${(site.address() as { port: number }).port}`
  server = await new Server(['--cors-origins', origin]).start()
  other = connect(server.url, { token: token('other') })
  other.on('question', (n) => n * 2 + 2)
  await other.join('lobby')
})

after(async () => {
  await other?.close()
  await server?.remove()
  site.close()
  site.closeAllConnections()
})

for (const { name, args } of browsers) {
  for (const module of ['index.js', 'culvert.min.js']) {
    const what = `${name} uses dist/${module}, without a bundler, across origins`
    const { program, skip } = find(name, what)
    test(what, { skip, timeout: 120_000 }, async () => {
      html = page(module, server.url, token(`${name}-${module}`))
      const dir = mkdtempSync(join(tmpdir(), 'culvert-browser-'))
      const report = new Promise<any>((done) => (told = done))
      const browser = spawn(program!, [...args(dir), origin + '/'], { stdio: 'ignore', detached: true })
      const gone = once(browser, 'exit')
      try {
        const found = await Promise.race([report, gone.then(() => ({ fault: 'the browser ended' }))])
        assert.deepEqual(found, { answer: 42, bytes: [1, 2, 255], transport: 'stream', webSocket: 'function' })
      } finally {
        process.kill(-browser.pid!, 'SIGKILL') // with all its children
        await gone
        rmSync(dir, { recursive: true, force: true, maxRetries: 5 })
      }
    })
  }
}
