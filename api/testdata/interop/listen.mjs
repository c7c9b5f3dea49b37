// Prints what an EventSource dispatches, one JSON object a line, for ever.
// Usage: node listen.mjs URL NAME...
import { EventSource } from 'eventsource'

const [url, ...names] = process.argv.slice(2)
const source = new EventSource(url)
for (const name of names) {
  source.addEventListener(name, ({ type, lastEventId, data }) => {
    console.log(JSON.stringify({ type, id: lastEventId, data }))
  })
}
source.addEventListener('error', ({ code, message }) => {
  console.error('error', code, message)
  if (source.readyState === EventSource.CLOSED) process.exit(1)
})
