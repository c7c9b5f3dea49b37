import type { Socket } from '@culvert/client'
import { nameOf } from './identity.js'

const again = 2000 // between two notices
const lasting = 3500 // how long a notice is shown

/** Shows who is typing in the open room. Notices are volatile, because nobody needs an old one. */
export class Typing {
  #until = new Map<string, ReturnType<typeof setTimeout>>()
  #said = 0

  constructor(private socket: Socket, private line: HTMLElement, private room: () => string) {
    socket.on('typing', (_, e) => {
      if (e.room === this.room() && e.from) this.#add(e.from)
    })
  }

  /** A key was pressed here. */
  notify(): void {
    const now = Date.now()
    if (!this.socket.connected || now - this.#said < again) return
    this.#said = now
    this.socket.to(this.room()).except('@me').volatile.emit('typing')
  }

  /** Somebody has stopped typing, because the message has come. */
  done(client: string): void {
    clearTimeout(this.#until.get(client))
    if (this.#until.delete(client)) this.#show()
  }

  /** An own message was sent: the next key sends a notice at once. */
  sent(): void {
    this.#said = 0
  }

  clear(): void {
    for (const client of [...this.#until.keys()]) this.done(client)
  }

  #add(client: string): void {
    clearTimeout(this.#until.get(client))
    this.#until.set(client, setTimeout(() => this.done(client), lasting))
    this.#show()
  }

  #show(): void {
    const names = [...this.#until.keys()].map(nameOf)
    this.line.textContent = names.length === 0 ? '' :
      names.length > 2 ? 'Several people are typing…' :
      `${names.join(' and ')} ${names.length > 1 ? 'are' : 'is'} typing…`
  }
}
