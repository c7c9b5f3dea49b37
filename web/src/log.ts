import { make } from './dom.js'
import { nameOf } from './identity.js'
import type { Message } from './messages.js'

const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' })

/** A hue for a client, always the same one. */
export const hueOf = (client: string): string =>
  `hue-${[...client].reduce((sum, c) => (sum * 31 + c.codePointAt(0)!) >>> 0, 7) % 8}`

/** Shows the messages of a room, and stays at the end unless the reader has scrolled up. */
export class Log {
  #shown = new Map<string, { item: HTMLLIElement; tick: HTMLElement }>()
  #atEnd = true

  constructor(private list: HTMLElement, private me: string) {
    list.addEventListener('scroll', () => (this.#atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 60))
    // The keyboard of a phone covers half of the list.
    new ResizeObserver(() => this.#follow()).observe(list)
  }

  clear(): void {
    this.#shown.clear()
    this.list.replaceChildren()
    this.#atEnd = true
  }

  /** Scrolls to the end, wherever the reader is. */
  toEnd(): void {
    this.#atEnd = true
    this.#follow()
  }

  show(messages: Message[]): void {
    const { list } = this
    const gone = new Set(this.#shown.keys())
    let before: Message | undefined
    messages.forEach((m, i) => {
      gone.delete(m.id)
      const { item, tick } = this.#shown.get(m.id) ?? this.#make(m)
      item.classList.toggle('follows', before?.from === m.from)
      item.classList.toggle('waiting', m.offset === undefined)
      item.dataset.offset = `${m.offset ?? ''}`
      const [sign, words] = state(m)
      if (m.from === this.me && tick.dataset.words !== words) {
        tick.dataset.words = words
        tick.replaceChildren(make('span', { text: sign }), make('span', { class: 'unseen', text: words }))
        ;(tick.firstChild as HTMLElement).ariaHidden = 'true'
        tick.title = words
        tick.className = `tick ${m.got ? 'got' : ''} ${m.refused ? 'refused' : ''}`
      }
      if (list.children[i] !== item) list.insertBefore(item, list.children[i] ?? null)
      before = m
    })
    for (const id of gone) {
      this.#shown.get(id)!.item.remove()
      this.#shown.delete(id)
    }
    this.#follow()
  }

  #follow(): void {
    if (this.#atEnd) this.list.scrollTop = this.list.scrollHeight
  }

  #make(m: Message): { item: HTMLLIElement; tick: HTMLElement } {
    const time = make('time', { text: clock.format(new Date(m.at)) })
    time.dateTime = m.at
    const tick = make('span', { class: 'tick' })
    const mine = m.from === this.me
    const item = make('li', { class: `message ${mine ? 'mine' : ''} ${hueOf(m.from)}` },
      make('p', { class: 'who', text: mine ? 'You' : nameOf(m.from) }),
      make('p', { class: 'text', text: m.text }),
      make('p', { class: 'meta' }, time, ...(mine ? [tick] : [])))
    const shown = { item, tick }
    this.#shown.set(m.id, shown)
    return shown
  }
}

/** The state of an own message: a sign, and the same in words. */
function state(m: Message): [string, string] {
  if (m.refused) return ['!', `not sent: ${m.refused}`]
  if (m.offset === undefined) return ['◷', 'waits to be sent']
  if (!m.got) return ['✓', 'stored']
  return ['✓✓', `delivered to ${m.got}`]
}
