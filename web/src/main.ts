import { Chat } from './chat.js'
import { byId } from './dom.js'
import { choose, forget, keep, known, nameOf } from './identity.js'
import { tidy } from './rooms.js'
import { Server } from './server.js'

const entry = byId<HTMLFormElement>('entry')
const name = byId<HTMLInputElement>('name')

/** Shows the chat instead of the form for a name. */
function open(): void {
  const who = known()
  entry.hidden = !!who
  byId('chat').hidden = !who
  if (!who) return name.focus()
  byId('me').textContent = nameOf(who.name)
  const chat = new Chat(who)
  const text = byId<HTMLTextAreaElement>('text')
  const send = () => {
    if (text.value.trim()) chat.send(text.value.trim())
    text.value = ''
    text.focus()
  }
  byId('composer').addEventListener('submit', (e) => {
    e.preventDefault()
    send()
  })
  text.addEventListener('keydown', (e) => {
    if (e.key !== 'Enter' || e.shiftKey || e.isComposing) return
    e.preventDefault()
    send()
  })
  text.addEventListener('input', () => chat.typing.notify())
  byId('new-room').addEventListener('submit', (e) => {
    e.preventDefault()
    const field = byId<HTMLInputElement>('room-name')
    const room = tidy(field.value)
    field.value = ''
    if (room) location.hash = `#${encodeURIComponent(room)}`
  })
  byId('leave').addEventListener('click', () => void chat.leave())
  byId('rename').addEventListener('click', () => {
    forget()
    void chat.socket.close().then(() => location.reload())
  })
  addEventListener('hashchange', () => {
    void chat.enter()
    text.focus()
  })
  void chat.enter()
}

// On a wide screen the list of people is beside the messages; on a phone it opens with a tap.
const wide = matchMedia('(min-width: 60rem)')
const fold = () => (byId<HTMLDetailsElement>('who').open = wide.matches)
wide.addEventListener('change', fold)
fold()

entry.addEventListener('submit', async (e) => {
  e.preventDefault()
  const fault = byId('fault')
  fault.textContent = ''
  const who = choose(name.value.trim())
  const server = new Server(who, () => {})
  try {
    await server.token() // the server says what is wrong with a name
    keep({ ...who, client: server.client })
    open()
  } catch (error) {
    forget()
    fault.textContent = `That did not work: ${(error as Error).message}`
    name.focus()
  }
})
open()
