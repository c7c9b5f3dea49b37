import assert from 'node:assert/strict'
import { test } from 'node:test'
import { watchPage } from '../../src/page.js'

test('changes of a page are reported until the watch ends', () => {
  const window = new EventTarget()
  const document = Object.assign(new EventTarget(), { visibilityState: 'hidden' })
  const { addEventListener } = globalThis as any
  Object.assign(globalThis, { addEventListener: window.addEventListener.bind(window), document })
  const told: string[] = []
  const end = new AbortController()
  watchPage(end.signal, (came) => told.push('network ' + came), () => told.push('seen'),
    () => told.push('hidden'), () => told.push('restored'))
  const all = () => {
    for (const name of ['offline', 'online', 'pagehide']) window.dispatchEvent(new Event(name))
    for (const persisted of [false, true]) window.dispatchEvent(Object.assign(new Event('pageshow'), { persisted }))
    for (const state of ['hidden', 'visible']) {
      document.visibilityState = state
      document.dispatchEvent(new Event('visibilitychange'))
    }
    document.dispatchEvent(new Event('resume'))
  }
  all()
  assert.deepEqual(told, ['network false', 'network true', 'hidden', 'restored', 'seen', 'seen'])
  end.abort()
  all()
  assert.equal(told.length, 6)
  Object.assign(globalThis, { addEventListener, document: undefined })
})
