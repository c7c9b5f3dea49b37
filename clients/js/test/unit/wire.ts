// A fetch function that imitates a server in memory, behind a proxy that a test can make hostile.

export interface Call {
  method: string
  url: URL
  headers: Headers
  body: any
}

type Push = (text: string) => void

export class Wire {
  events: { offset: number; event: string; [k: string]: any }[] = []
  acked = 0
  calls: Call[] = []
  log = 'l'
  heartbeat = 15
  /** The proxy: answers instead of the server if it returns something. */
  way: (c: Call, o: RequestInit) => Promise<Response | undefined> | Response | undefined | void = () => {}
  #streams = new Map<Push, () => void>()
  #polls = new Set<() => void>()

  emit(event: string, more: object = {}): void {
    const e = { offset: this.events.length + 1, room: '*', event, data: null, from: null, at: '2026-01-01T00:00:00Z', ...more }
    this.events.push(e)
    for (const push of this.#streams.keys()) push(this.frame(e))
    for (const wake of [...this.#polls]) wake()
  }

  frame(e: any): string {
    return (e.offset ? `id: ${this.log}:${e.offset}\n` : '') + `event: ${e.event}\ndata: ${JSON.stringify(e)}\n\n`
  }

  /** Sends text that is not an event to all open streams. */
  say(text: string): void {
    for (const push of this.#streams.keys()) push(text)
  }

  /** Ends all streams like complete ones. */
  cut(): void {
    for (const end of this.#streams.values()) end()
  }

  get open(): number {
    return this.#streams.size + this.#polls.size
  }

  count(method: string, path: string): number {
    return this.calls.filter((c) => c.method === method && c.url.pathname.endsWith(path)).length
  }

  fetch = (async (input: URL, o: RequestInit = {}): Promise<Response> => {
    const c: Call = {
      method: o.method!, url: new URL(input), headers: new Headers(o.headers),
      body: typeof o.body === 'string' ? JSON.parse(o.body) : undefined,
    }
    this.calls.push(c)
    o.signal?.throwIfAborted()
    const instead = await this.way(c, o)
    if (instead) return instead
    return this.serve(c, o)
  }) as unknown as typeof fetch

  serve(c: Call, o: RequestInit): Promise<Response> | Response {
    if (c.url.pathname.endsWith('/ack')) {
      this.acked = Math.max(this.acked, this.#offset(c.body.cursor))
      return Response.json({ cursor: c.body.cursor })
    }
    if (c.body?.events) return Response.json({ cursor: `${this.log}:0`, offsets: c.body.events.map(() => 1) }, { status: 201 })
    if (!c.url.pathname.endsWith('/events')) return Response.json({ cursor: `${this.log}:0`, offset: 1 }, { status: 201 })
    const position = c.headers.get('last-event-id') ?? c.url.searchParams.get('after')
    if (position && c.url.searchParams.get('ack') === 'auto') this.acked = Math.max(this.acked, this.#offset(position))
    const after = position ? this.#offset(position) : this.acked
    return c.headers.get('accept') === 'text/event-stream' ? this.#stream(after, position, o) : this.#poll(after, c, o)
  }

  #offset = (cursor: string) => +cursor.split(':')[1]!

  #stream(after: number, position: string | null, o: RequestInit): Response {
    let push!: Push
    const text = new TextEncoder()
    const body = new ReadableStream({
      start: (s) => {
        push = (t) => s.enqueue(text.encode(t))
        this.#streams.set(push, () => {
          this.#streams.delete(push)
          s.close()
        })
        o.signal?.addEventListener('abort', () => {
          if (this.#streams.delete(push)) s.error(o.signal!.reason)
        })
      },
    })
    const cursor = `${this.log}:${after}`
    push((position ? '' : `id: ${cursor}\n`) + 'event: culvert:hello\nretry: 1000\n' +
      `data: ${JSON.stringify({ client: 'me', cursor, log: this.log, heartbeat: this.heartbeat, max_age: 3300 })}\n\n`)
    for (const e of this.events.slice(after)) push(this.frame(e))
    return new Response(body, { headers: { 'Content-Type': 'text/event-stream' } })
  }

  async #poll(after: number, c: Call, o: RequestInit): Promise<Response> {
    if (this.events.length <= after && +c.url.searchParams.get('wait')!) {
      await new Promise<void>((resolve, reject) => {
        this.#polls.add(resolve)
        o.signal?.addEventListener('abort', () => {
          this.#polls.delete(resolve)
          reject(o.signal!.reason)
        })
      }).finally(() => this.#polls.clear())
    }
    const events = this.events.slice(after)
    return Response.json({ events, cursor: `${this.log}:${Math.max(after, this.events.length)}`, more: false })
  }
}
