// One client on one path: it emits, receives, and reports on stdout what it saw, one
// JSON object a line. Its orders are the JSON in its first argument.
import { connect, memoryVerdicts } from '../../../clients/js/src/index.js'
import { fetchThrough } from './forward.js'

const { url, token, room, count, pace, silence, transport, forward, page } = JSON.parse(process.argv[2]!)
// As in a page of another origin: its URLs stay the same, because each new one costs a preflight.
if (page) Object.assign(globalThis, { location: new URL(page) })

const say = (o: object) => process.stdout.write(JSON.stringify(o) + '\n')
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

const began = performance.now()
const since = () => Math.round(performance.now() - began)
const received: number[] = []
const delays: number[] = []
const transports: string[] = []
const errors: string[] = []
const waits: number[] = []
const refused: number[] = []
let asked = 0

const way: typeof fetch = forward ? fetchThrough(forward) : fetch
const socket = connect(url, {
  token, transport, leader: false, verdicts: memoryVerdicts(),
  fetch: async (to, init) => {
    if (init?.method !== 'GET') return way(to, init)
    asked++
    const wait = new URL(`${to}`).searchParams.get('wait')
    if (wait && !waits.includes(+wait)) waits.push(+wait)
    const answer = await way(to, init)
    if (answer.status !== 200) refused.push(answer.status)
    return answer
  },
})
socket.on('transport', (t) => transports.push(t))
socket.on('disconnect', (reason) => transports.push(reason))
socket.on('error', (e) => errors.push(String(e)))
socket.on('gap', (g) => errors.push('gap ' + JSON.stringify(g)))
const all = new Promise<void>((resolve) => {
  socket.on('down', ({ n, at }) => {
    if (!received.length) say({ first: since() })
    else delays.push(Date.now() - at) // the first event waited for this client
    received.push(n)
    if (new Set(received).size === count) resolve()
  })
})

const receipts: Promise<unknown>[] = []
for (let n = 0; n < count; n++) {
  if (n === count / 2) await sleep(silence)
  receipts.push(socket.to(room).emit('up', n))
  await sleep(pace)
}
await Promise.all(receipts)
say({ sent: since() })
await all
await sleep(500) // for events that should not come
say({ received, delays, transports, asked, waits, refused, errors })
await Promise.race([socket.close(), sleep(2000)])
process.exit(0)
