import type { Socket, Transport } from '@culvert/client'
import { byId } from './dom.js'
import * as network from './network.js'
import type { Server } from './server.js'

const ways: Record<Transport, string> = { stream: 'streaming', poll: 'long polling' }

/** Shows how events come, and has the switches to change that. */
export class Status {
  #line = byId('state')
  #pending = byId('pending')
  #waiting = 0
  #server: Server | undefined

  constructor(private socket: Socket) {
    const select = byId<HTMLSelectElement>('transport')
    select.addEventListener('change', () => socket.use(select.value as 'auto' | Transport))
    const button = byId<HTMLButtonElement>('offline')
    button.addEventListener('click', () => network.turn(!network.offline()))
    const turned = (off: boolean) => {
      button.ariaPressed = `${off}`
      this.show()
    }
    network.watch(turned)
    turned(network.offline())
    for (const event of ['connect', 'disconnect', 'transport'] as const) socket.on(event, () => this.show())
  }

  /** Also shows how many tokens the page got, or why there is none. */
  count(server: Server): void {
    this.#server = server
    this.show()
  }

  /** Shows how many messages wait to be sent. */
  waiting(n: number): void {
    this.#waiting = n
    this.show()
  }

  show(): void {
    const { connected, transport } = this.socket
    const state = network.offline() ? 'offline' : connected ? 'connected' : 'connecting'
    document.documentElement.dataset.state = state
    const words = state === 'connected' ? ways[transport!] : state === 'offline' ? 'offline' : 'connecting…'
    if (this.#line.textContent !== words) this.#line.textContent = words
    this.#line.title = this.#server ? `tokens so far: ${this.#server.tokens}` : ''
    this.#line.dataset.tokens = `${this.#server?.tokens ?? 0}`
    const n = this.#waiting
    const refused = state === 'connecting' && this.#server?.refused
    this.#pending.textContent = [
      n ? `${n} message${n > 1 ? 's' : ''} waiting to be sent` : '', refused ? `Not let in yet: ${refused}` : '',
    ].filter(Boolean).join('. ')
  }
}
