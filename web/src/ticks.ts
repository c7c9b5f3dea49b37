import type { Socket } from '@culvert/client'
import type { Messages } from './messages.js'

const patience = 5000 // for the replies
const pause = 300 // one question covers all messages that were typed in this time

/**
 * Finds out how many clients have received own messages. It asks one question for all messages so far: the
 * question follows them in the log, so a client that replies to the question has received them. There is
 * one question at a time, since each holds a connection while it waits, and another one when
 * somebody comes online.
 */
export class Ticks {
  #asking = new Set<string>()
  #again = new Set<string>()

  constructor(private socket: Socket, private changed: () => void) {
    socket.on('delivered?', () => true)
  }

  async ask(room: string, messages: Messages): Promise<void> {
    if (this.#asking.has(room)) return void this.#again.add(room)
    this.#asking.add(room)
    await new Promise((over) => setTimeout(over, pause))
    this.#again.delete(room)
    const upTo = messages.newest()
    // Without a connection the question would wait in the outbox with the messages.
    if (upTo && this.socket.connected) {
      try {
        const replies = await this.socket.to(room).except('@me').timeout(patience).emitWithAck('delivered?', null, {})
        messages.reached(upTo, new Set(replies.map((r) => r.from)).size)
        this.changed()
      } catch {} // nobody is online; the question is asked again when somebody comes
    }
    this.#asking.delete(room)
    if (this.#again.has(room)) void this.ask(room, messages)
  }
}
