import { byId, make } from './dom.js'
import { nameOf } from './identity.js'
import { hueOf } from './log.js'
import type { Person } from './server.js'

/** Who is in the open room: those online first. */
export class People {
  #all = new Map<string, boolean>()
  #heard = new Map<string, boolean>()
  #list = byId('people')
  #count = byId('count')

  constructor(private me: string) {}

  /** A list was requested: changes that are received before it comes are newer than the list. */
  asked(): void {
    this.#heard.clear()
  }

  set(people: Person[]): void {
    this.#all = new Map([...people.map((p) => [p.client, p.online] as const), ...this.#heard])
    this.#show()
  }

  /** Somebody went online or offline. */
  turn(client: string, online: boolean): void {
    this.#heard.set(client, online)
    this.#all.set(client, online)
    this.#show()
  }

  #show(): void {
    const all = [...this.#all].map(([client, online]) => ({ client, online: online || client === this.me }))
    all.sort((a, b) => +b.online - +a.online || nameOf(a.client).localeCompare(nameOf(b.client)))
    this.#count.textContent = `${all.filter((p) => p.online).length} online`
    this.#list.replaceChildren(...all.map(({ client, online }) => {
      const name = nameOf(client) + (client === this.me ? ' (you)' : '')
      const dot = make('span', { class: 'dot' })
      dot.ariaHidden = 'true'
      return make('li', { class: `${online ? 'online' : 'away'} ${hueOf(client)}` },
        dot, make('span', { text: name }), make('span', { class: 'away-word', text: online ? '' : 'away' }))
    }))
  }
}
