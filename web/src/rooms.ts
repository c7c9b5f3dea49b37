import { byId, make } from './dom.js'

const prefix = 'chat-'
const always = ['lobby', 'kitchen', 'garden']

/** The name of a room on the server. */
export const roomOf = (name: string): string => prefix + name

/** The name to show for a room; undefined if the room is not one of the chat. */
export const titleOf = (room: string): string | undefined => (room.startsWith(prefix) ? room.slice(prefix.length) : undefined)

/** Makes a valid name for a room. */
export const tidy = (name: string): string =>
  name.trim().toLowerCase().replace(/[^\p{L}\p{N}]+/gu, '-').replace(/^-+|-+$/g, '').slice(0, 24)

/** The list of rooms. The open one is in the page's address, so that links and "back" work. */
export class Rooms {
  #names = new Set(always)
  #unread = new Map<string, number>()
  #list = byId('rooms')

  get open(): string {
    let name = ''
    try {
      name = tidy(decodeURIComponent(location.hash.slice(1)))
    } catch {} // not an address of this page
    return name || always[0]!
  }

  add(...names: string[]): void {
    for (const name of names) this.#names.add(name)
    this.show()
  }

  /** The room was left: opens another one, by changing the address. */
  remove(name: string): void {
    if (!always.includes(name)) this.#names.delete(name)
    location.hash = `#${always.find((other) => other !== name)}`
  }

  /** A message came in a room that may not be open. */
  count(name: string): void {
    if (name !== this.open) this.#unread.set(name, (this.#unread.get(name) ?? 0) + 1)
    this.add(name)
  }

  show(): void {
    this.#unread.delete(this.open)
    this.#names.add(this.open)
    this.#list.replaceChildren(...[...this.#names].map((name) => {
      const link = make('a', {}, make('span', { text: name }))
      link.href = `#${encodeURIComponent(name)}`
      if (name === this.open) link.setAttribute('aria-current', 'page')
      const unread = this.#unread.get(name)
      if (unread) link.append(make('span', { class: 'badge', text: `${unread}` }), make('span', { class: 'unseen', text: ' unread' }))
      return make('li', {}, link)
    }))
    this.#list.querySelector('[aria-current]')?.scrollIntoView({ block: 'nearest', inline: 'nearest' })
  }
}
