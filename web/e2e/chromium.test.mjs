// Tests of the chat, used by people in Chromium against a real server.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { launch, missing, phone } from './browser.mjs'
import { keyboard } from './keyboard.mjs'
import { crash, killed } from './killed.mjs'
import { network } from './network.mjs'
import { numbered, own, Person } from './person.mjs'
import { awake, sleep } from './sleep.mjs'
import { talk } from './talk.mjs'
import { way } from './way.mjs'

let browser

function chat() {
  talk(() => browser)
  network(() => browser)
  killed(() => browser, crash)

  it('a page that slept has everything when it wakes, by the stream alone', async (t) => {
    const bed = await launch('chromium')
    t.after(() => bed.close())
    const there = await way()
    t.after(there.close)
    const gus = await Person.come(bed, 'Gus', own('sleep'), phone, '', there.url)
    const hal = await Person.come(browser, 'Hal', own('sleep'))
    await hal.page.locator('#people .online', { hasText: 'Gus' }).waitFor()
    await gus.page.route('**/rooms/*/events*', (route) => route.abort()) // what the room has, read at once
    const texts = numbered('night', 6)
    for (const [cut, some] of [[false, texts.slice(0, 3)], [true, texts.slice(3)]]) {
      const wake = await sleep(bed)
      assert.equal(await awake(gus.page), false)
      if (cut) there.cut()
      for (const text of some) await hal.say(text)
      await hal.ticked(some[2], 'stored')
      wake()
      assert.deepEqual(await gus.sees('night', cut ? 6 : 3), cut ? texts : some)
      await hal.ticked(some[2], 'delivered to 1')
    }
    await gus.say('morning')
    await hal.sees('morning', 1)
    await gus.go()
    await hal.go()
  })
}

const skip = missing('chromium', 'the chat in Chromium')
if (skip) it('the chat in Chromium', { skip })
else {
  before(async () => (browser = await launch('chromium')))
  after(() => browser?.close())
  describe('the chat in Chromium, by keyboard', () => keyboard(() => browser))
  describe('the chat in Chromium', { concurrency: 4, timeout: 300_000 }, chat)
}
