// The same tests in Firefox, and one with people in both browsers in one room.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { launch, missing, phone } from './browser.mjs'
import { keyboard } from './keyboard.mjs'
import { close, killed } from './killed.mjs'
import { network } from './network.mjs'
import { numbered, own, Person } from './person.mjs'
import { talk } from './talk.mjs'

let firefox

function chat() {
  talk(() => firefox)
  network(() => firefox)
  killed(() => firefox, close)

  const both = 'somebody in Firefox and somebody in Chromium'
  it(both, { skip: missing('chromium', both) }, async (t) => {
    const chromium = await launch('chromium')
    t.after(() => chromium.close())
    const max = await Person.come(firefox, 'Max', own('both'), phone)
    const nia = await Person.come(chromium, 'Nia', own('both'), phone)
    await max.page.locator('#count', { hasText: '2 online' }).waitFor()
    const all = []
    for (let i = 0; i < 4; i++) {
      const [from, to] = i % 2 ? [max, nia] : [nia, max]
      all.push(`turn-${i}`)
      await from.say(all[i])
      assert.deepEqual(await to.sees('turn', i + 1), all)
      await from.ticked(all[i], 'delivered to 1')
    }
    await nia.page.getByLabel('Message', { exact: true }).pressSequentially('so')
    await max.page.locator('#typing', { hasText: 'Nia is typing' }).waitFor()
    await max.page.getByRole('button', { name: 'Offline' }).click()
    for (const text of numbered('apart', 3)) await nia.say(text)
    await max.say('apart-3')
    await nia.page.locator('#count', { hasText: '1 online' }).waitFor()
    await max.page.getByRole('button', { name: 'Offline' }).click()
    for (const p of [max, nia]) assert.deepEqual(await p.sees('apart', 4), numbered('apart', 4))
    await nia.ticked('apart-2', 'delivered to 1')
    await max.go()
    await nia.go()
  })
}

const skip = missing('firefox', 'the chat in Firefox')
if (skip) it('the chat in Firefox', { skip })
else {
  before(async () => (firefox = await launch('firefox')))
  after(() => firefox?.close())
  describe('the chat in Firefox, by keyboard', () => keyboard(() => firefox))
  describe('the chat in Firefox', { concurrency: 5, timeout: 300_000 }, chat)
}
