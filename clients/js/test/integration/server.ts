// Starts the real server, built from this repository, on free loopback ports.
import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { createHmac } from 'node:crypto'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

const secret = 'a secret that only the tests of this client know'
export const apiKey = 'key-of-the-tests'

async function freePort(): Promise<number> {
  const s = createServer().listen(0, '127.0.0.1')
  await once(s, 'listening')
  const { port } = s.address() as { port: number }
  s.close()
  await once(s, 'close')
  return port
}

export class Server {
  url = ''
  #dir = mkdtempSync(join(tmpdir(), 'culvert-js-'))
  #program: string
  #port = 0
  #child: ChildProcess | undefined

  constructor(private flags: string[] = []) {
    chmodSync(this.#dir, 0o755) // as root, Postgres runs as someone else
    this.#program = process.env.CULVERT_BIN ?? join(this.#dir, 'culvert')
    if (!process.env.CULVERT_BIN) {
      execFileSync('go', ['build', '-o', this.#program, '.'], { cwd: resolve('../..'), stdio: 'inherit' })
    }
  }

  /** Starts it, on the same port and data as before. */
  async start(): Promise<this> {
    this.#port ||= await freePort()
    this.url = `http://127.0.0.1:${this.#port}`
    const child = spawn(this.#program, [
      'serve', '--listen', `127.0.0.1:${this.#port}`, '--admin-listen', '', '--data', join(this.#dir, 'data'),
      '--jwt-secret', secret, '--api-keys', apiKey, ...this.flags,
    ], { stdio: ['ignore', 'ignore', 'pipe'] })
    this.#child = child
    let log = ''
    await new Promise<void>((ready, failed) => {
      child.stderr!.on('data', (b) => {
        log += b
        if (/ready/.test(log)) ready()
      })
      child.on('exit', (code) => failed(new Error(`the server ended with ${code}\n${log}`)))
    })
    return this
  }

  /** Ends it: by a shutdown, or by a crash. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const child = this.#child
    this.#child = undefined
    if (!child || child.exitCode !== null) return
    const gone = once(child, 'exit')
    child.kill(signal)
    await gone
  }

  async remove(): Promise<void> {
    await this.stop()
    rmSync(this.#dir, { recursive: true, force: true })
  }
}

/** A token for a client that may do everything, for so many seconds. */
export function token(sub: string, seconds = 600): string {
  const b64 = (v: unknown) => Buffer.from(JSON.stringify(v)).toString('base64url')
  const iat = Math.floor(Date.now() / 1000)
  const body = b64({ alg: 'HS256', typ: 'JWT' }) + '.' + b64({ sub, iat, exp: iat + seconds, rooms: ['*'], emit: ['*'] })
  return body + '.' + createHmac('sha256', secret).update(body).digest('base64url')
}
