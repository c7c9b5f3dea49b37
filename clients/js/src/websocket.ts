import { connect, type Delivery, type Options, type Socket } from './client.js'
import type { CulvertError } from './client.js'

/** What a CulvertWebSocket needs beyond its URL. */
export interface WebSocketOptions extends Omit<Options, 'token'> {
  /** Default: `access_token` in the URL. */
  token?: Options['token']
  /** The room to which messages go, in place of a WebSocket server. Default: `room` in the URL. */
  room?: string
  /** Name of the events that carry messages. Default: `message`. */
  event?: string
}

type Data = string | ArrayBufferLike | Blob | ArrayBufferView

const CONNECTING = 0, OPEN = 1, CLOSING = 2, CLOSED = 3

const size = (d: Data) =>
  typeof d === 'string' ? new TextEncoder().encode(d).length : d instanceof Blob ? d.size : d.byteLength

/**
 * The browser's WebSocket interface for a room: the other clients in the room get what one client
 * sends. To run code written for WebSocket, change its constructor:
 *
 *     new CulvertWebSocket('wss://culvert.example/?room=lobby&access_token=…')
 *
 * It is open once the room is joined, and stays open while the network is down: messages
 * sent meanwhile wait, and messages of others are not missed. close leaves the room.
 */
export class CulvertWebSocket extends EventTarget {
  static readonly CONNECTING = CONNECTING
  static readonly OPEN = OPEN
  static readonly CLOSING = CLOSING
  static readonly CLOSED = CLOSED
  readonly CONNECTING = CONNECTING
  readonly OPEN = OPEN
  readonly CLOSING = CLOSING
  readonly CLOSED = CLOSED

  /** Returns a constructor with these options, for code that calls WebSocket without options. */
  static with(defaults: WebSocketOptions): typeof CulvertWebSocket {
    return class extends CulvertWebSocket {
      constructor(url: string | URL, protocols?: string | string[], options?: WebSocketOptions) {
        super(url, protocols, { ...defaults, ...options })
      }
    }
  }

  readonly url: string
  readonly protocol = ''
  readonly extensions = ''
  readyState: 0 | 1 | 2 | 3 = CONNECTING
  bufferedAmount = 0

  onopen: ((e: Event) => unknown) | null = null
  onmessage: ((e: MessageEvent) => unknown) | null = null
  onerror: ((e: Event) => unknown) | null = null
  onclose: ((e: CloseEvent) => unknown) | null = null

  #binaryType: BinaryType = 'blob'
  #socket: Socket
  #room: string
  #event: string
  #sent: Promise<unknown> = Promise.resolve()

  constructor(url: string | URL, _protocols?: string | string[], options: WebSocketOptions = {}) {
    super()
    const at = new URL(url, globalThis.location?.href)
    at.protocol = at.protocol.replace('ws', 'http')
    const room = options.room ?? at.searchParams.get('room')
    const token = options.token ?? at.searchParams.get('access_token')
    const odd = [...at.searchParams.keys()].some((name) => name !== 'room' && name !== 'access_token')
    if (!/^http/.test(at.protocol) || at.username || at.password || odd || at.hash || !room || !token) {
      throw new DOMException('a room, a token and a URL of ws, wss, http or https are needed, without user, fragment or other parameters', 'SyntaxError')
    }
    this.url = `${url}`
    this.#room = room
    this.#event = options.event ?? 'message'
    const socket = (this.#socket = connect(at.origin + at.pathname, { ...options, token }))
    socket.on(this.#event, (_, d) => this.#receive(d))
    socket.on('error', (e) => this.#failed(e as CulvertError))
    let joined = false
    const open = () => {
      if (!joined || !socket.connected || this.readyState !== CONNECTING) return
      this.readyState = OPEN
      this.#raise(new Event('open'))
    }
    socket.on('connect', open)
    socket.join(room).then(() => {
      joined = true
      open()
    }, (e) => this.#failed(e))
  }

  get binaryType(): BinaryType {
    return this.#binaryType
  }

  set binaryType(type: BinaryType) {
    if (type === 'blob' || type === 'arraybuffer') this.#binaryType = type
  }

  send(data: Data): void {
    if (this.readyState === CONNECTING) throw new DOMException('still connecting', 'InvalidStateError')
    const bytes = size(data)
    this.bufferedAmount += bytes
    if (this.readyState !== OPEN) return
    // Copy, because a view may change after the call, and keep the order, because reading a blob takes time.
    const copy = typeof data === 'string' ? data
      : data instanceof Blob ? data.arrayBuffer()
      : ArrayBuffer.isView(data) ? data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength)
      : data.slice(0)
    const put = this.#sent.then(async () => {
      const body = await copy
      return { stored: this.#socket.to(this.#room).except('@me').emit(this.#event, body) }
    })
    this.#sent = put
    // A refused message was reported as an error, and is not buffered any more either.
    put.then(({ stored }) => stored).catch(() => {}).then(() => {
      this.bufferedAmount -= bytes
    })
  }

  close(code?: number, reason = ''): void {
    if (code !== undefined && code !== 1000 && !(code >= 3000 && code <= 4999)) {
      throw new DOMException('the code must be 1000 or from 3000 to 4999', 'InvalidAccessError')
    }
    if (size(reason) > 123) throw new DOMException('the reason is longer than 123 bytes', 'SyntaxError')
    if (this.readyState >= CLOSING) return
    const open = this.readyState === OPEN
    this.readyState = CLOSING
    void this.#leave(open).then(() => this.#closed(open ? (code ?? 1005) : 1006, open ? reason : '', open))
  }

  /** Leaves the room after everything sent before is stored; close waits for that. */
  async #leave(open: boolean): Promise<void> {
    if (open) {
      let timer: ReturnType<typeof setTimeout>
      const enough = new Promise((r) => (timer = setTimeout(r, 5000)))
      const stored = this.#sent.then((r: any) => r?.stored).catch(() => {})
      const left = stored.then(() => this.#socket.leave(this.#room)).catch(() => {})
      await Promise.race([left, enough])
      clearTimeout(timer!)
    }
    await this.#socket.close()
  }

  #receive(d: Delivery): void {
    if (d.room !== this.#room || this.readyState !== OPEN) return
    let { data } = d
    if (data instanceof Uint8Array) data = this.#binaryType === 'blob' ? new Blob([data as BlobPart]) : data.buffer
    else if (typeof data !== 'string') data = JSON.stringify(data)
    this.#raise(new MessageEvent('message', { data, origin: new URL(this.url, globalThis.location?.href).origin }))
  }

  /** The connection was refused, or only one message. */
  #failed(e: CulvertError): void {
    if (this.readyState === CLOSED) return
    this.#raise(new Event('error'))
    if (this.readyState === OPEN && !this.#gone(e)) return
    void this.#socket.close()
    this.#closed(1006, '', false)
  }

  /** Whether the socket has given up. */
  #gone({ status }: CulvertError): boolean {
    return status === 401
  }

  #closed(code: number, reason: string, wasClean: boolean): void {
    if (this.readyState === CLOSED) return
    this.readyState = CLOSED
    this.#raise(closeEvent(code, reason, wasClean))
  }

  #raise(e: Event): void {
    const on = (this as any)['on' + e.type]
    if (typeof on === 'function') this.addEventListener(e.type, on.bind(this), { once: true })
    this.dispatchEvent(e)
  }
}

/** Node has CloseEvent only from version 23 on. */
function closeEvent(code: number, reason: string, wasClean: boolean): CloseEvent {
  if (globalThis.CloseEvent) return new CloseEvent('close', { code, reason, wasClean })
  return Object.assign(new Event('close'), { code, reason, wasClean }) as CloseEvent
}
