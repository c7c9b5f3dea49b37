// Answers to another request than was sent, because of caches and lost headers.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isStream, rig } from './sockets.js'
import { Wire } from './wire.js'

test('polls get past a cache that repeats answers and a proxy that drops headers', async () => {
  for (const kind of ['cache', 'header'] as const) {
    const wire = new Wire()
    ;(globalThis as any).location = new URL('http://page.test/') // another origin: the URL is constant
    const answers = new Map<string, string>()
    wire.way = async (c, o) => {
      if (kind === 'header') c.headers.delete('last-event-id')
      if (kind === 'header' || !c.url.pathname.endsWith('/events')) return
      const known = answers.get(c.url.href)
      if (known) return Response.json(JSON.parse(known))
      const answer = await wire.serve(c, o)
      answers.set(c.url.href, await answer.clone().text())
      return answer
    }
    const { clock, got } = rig(wire, { transport: 'poll' })
    await clock.run(100, 10)
    delete (globalThis as any).location
    const names = ['a', 'b', 'c', 'd', 'e']
    for (const name of names) {
      wire.emit(name)
      await clock.run(3000, 100)
    }
    assert.deepEqual(got, names, kind)
    const polls = wire.count('GET', '/events')
    assert.ok(polls < 30, `${polls} polls by ${kind}`)
  }
})

test('across origins the URL stays as it is, so that permission is asked for once', async () => {
  ;(globalThis as any).location = new URL('http://page.test/')
  const { wire, clock } = rig()
  await clock.run(1)
  delete (globalThis as any).location
  for (let i = 0; i < 5; i++) {
    wire.emit('a')
    await clock.run(1)
    wire.cut()
    await clock.run(2000, 100)
  }
  const urls = new Set(wire.calls.filter(isStream).map((c) => c.url.href))
  assert.equal(urls.size, 1)
})

test('the cursor moves into the URL when a stream starts at another one or a poll is not held', async () => {
  for (const transport of ['stream', 'poll'] as const) {
    const wire = new Wire()
    ;(globalThis as any).location = new URL('http://page.test/')
    wire.way = (c) => {
      if (c.url.searchParams.has('_') || !c.headers.has('last-event-id')) return
      if (isStream(c)) c.headers.delete('last-event-id')
      else return Response.json({ events: [], cursor: c.headers.get('last-event-id'), more: false })
    }
    const { clock, got } = rig(wire, { transport })
    await clock.run(100, 10)
    delete (globalThis as any).location
    const names = ['a', 'b', 'c']
    for (const name of names) {
      wire.emit(name)
      wire.cut()
      await clock.run(3000, 100)
    }
    assert.deepEqual(got, names, transport)
    const last = wire.calls.filter((c) => c.url.pathname.endsWith('/events')).at(-1)!
    assert.equal(last.url.searchParams.get('after'), 'l:3')
  }
})
