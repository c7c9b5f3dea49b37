// Checked against the installed package: what must compile, and what must not.
import { connect, CulvertWebSocket, type CulvertError, type Delivery, type Reply } from '@culvert/client'

interface FromServer {
  chat: { text: string }
  typing: boolean
}

interface ToServer {
  chat: { text: string }
  ping: undefined
}

const socket = connect<FromServer, ToServer>('https://culvert.example', {
  token: async () => 'token', namespace: 'default', client: 'alice', transport: 'poll',
})

socket.on('chat', ({ text }, event) => {
  const d: Delivery<{ text: string }> = event
  return d.offset! + text.length
})
socket.on('connect', () => {}).on('disconnect', (why: 'lost' | 'closed' | 'refused') => why)
socket.on('transport', (t: 'stream' | 'poll') => t)
socket.on('error', (e: Error | CulvertError) => e.message)
socket.on('gap', (g) => g.reason === 'pruned')
socket.onAny((name: string, data) => data)
void socket.emit('chat', { text: 'hi' }).then((r) => r.offset?.toFixed())
void socket.emit('ping')
socket.to('a').to(['b']).except('@me').volatile.emit('chat', { text: '' })
const all: Promise<Reply[]> = socket.timeout(1000).emitWithAck('chat', { text: '' }, { count: 2 })
const up: boolean = socket.connected

// @ts-expect-error there is no such event to send
socket.emit('chats', { text: 'hi' })
// @ts-expect-error its data is something else
socket.emit('chat', 1)
// @ts-expect-error its data is something else
socket.on('typing', (t: string) => t)
// @ts-expect-error a token is needed
connect('https://culvert.example', {})

const loose = connect('https://culvert.example', { token: 'key' })
loose.on('whatever', (data) => data.anything)
void loose.emit('whatever', [1])

// Code for WebSocket takes one in its place.
const ws: Pick<WebSocket, 'send' | 'close' | 'readyState' | 'bufferedAmount' | 'binaryType' | 'onopen' | 'onmessage' |
  'onclose' | 'onerror' | 'url' | 'protocol' | 'extensions' | 'OPEN' | 'addEventListener'> = new CulvertWebSocket('wss://x/?room=a&access_token=t')
ws.onmessage = ({ data }) => data
export { all, up }
