// Tests of effects of the network and of the browser; they are the same in every browser.
import assert from 'node:assert/strict'
import { it } from 'node:test'
import { desk, phone } from './browser.mjs'
import { numbered, own, Person } from './person.mjs'

/** Defines the tests, each in a room of its own, so that they can run at once. */
export function network(browser) {
  it('after a reload and offline no message is lost or shown twice', async () => {
    const cid = await Person.come(browser(), 'Cid', own('garden'), phone)
    const dora = await Person.come(browser(), 'Dora', own('garden'), { ...desk, colorScheme: 'dark' })
    const mine = numbered('mine', 5)
    const theirs = numbered('theirs', 5)
    await cid.page.getByRole('button', { name: 'Offline' }).click()
    await cid.state('offline')
    for (const text of mine.slice(0, 3)) await cid.say(text)
    await cid.page.locator('#pending', { hasText: '3 messages waiting' }).waitFor()
    await cid.picture('offline-phone')
    for (const text of theirs) await dora.say(text)
    await cid.page.reload()
    await cid.page.locator('#pending', { hasText: '3 messages waiting' }).waitFor()
    assert.deepEqual(await cid.sees('mine', 3), mine.slice(0, 3))
    for (const text of mine.slice(3)) await cid.say(text)
    await cid.page.getByRole('button', { name: 'Offline' }).click()
    await cid.connected()
    assert.deepEqual(await dora.sees('mine', 5), mine)
    assert.deepEqual(await cid.sees('theirs', 5), theirs)
    await cid.ticked('mine-4', 'delivered to 1')
    await cid.page.locator('#pending:empty').waitFor({ state: 'attached' })

    // The same with the browser's own switch, which the page does not control.
    await dora.context.setOffline(true)
    for (const text of numbered('tunnel', 3)) await dora.say(text)
    await dora.page.locator('#pending', { hasText: '3 messages waiting' }).waitFor()
    for (const text of numbered('outside', 3)) await cid.say(text)
    await dora.context.setOffline(false)
    assert.deepEqual(await cid.sees('tunnel', 3), numbered('tunnel', 3))
    assert.deepEqual(await dora.sees('outside', 3), numbered('outside', 3))
    await cid.page.reload()
    const shown = []
    for (const p of [cid, dora]) {
      await p.sees('outside', 3)
      await p.sees('tunnel', 3)
      shown.push(await p.page.locator('.message .text').allTextContents())
    }
    assert.equal(shown[0].length, 16)
    assert.deepEqual(shown[0], shown[1])
    await dora.picture('after-desk')
    await cid.go()
    await dora.go()
  })

  it('six tabs share one stream, and the next one takes over', async () => {
    const eve = await Person.come(browser(), 'Eve', own('tabs'))
    const fay = await Person.come(browser(), 'Fay', own('tabs'))
    const tabs = [eve.page]
    while (tabs.length < 6) tabs.push(await eve.tab())
    for (const t of tabs) await eve.connected(t)
    assert.equal(eve.streams.size, 1)
    const texts = numbered('six', 6)
    await fay.say(texts[0])
    for (const t of tabs) assert.deepEqual(await eve.sees('six', 1, t), texts.slice(0, 1))
    for (let i = 1; i < 5; i++) {
      await tabs.shift().close() // the first one of those left holds the stream
      await fay.say(texts[i])
      for (const t of tabs) assert.deepEqual(await eve.sees('six', i + 1, t), texts.slice(0, i + 1))
    }
    assert.equal(eve.streams.size, 1)
    await eve.say(texts[5], tabs[1])
    assert.deepEqual(await fay.sees('six', 6), texts)
    assert.deepEqual(await eve.sees('six', 6, tabs[0]), texts)
    await eve.go()
    await fay.go()
  })

  it('a person can choose either transport', async () => {
    const ida = await Person.come(browser(), 'Ida', own('ways'), phone)
    const jim = await Person.come(browser(), 'Jim', own('ways'))
    await ida.state('streaming')
    await ida.page.getByLabel('Transport').selectOption('poll')
    await ida.state('long polling')
    assert.equal(ida.streams.size, 0)
    await jim.say('by poll')
    await ida.sees('by poll', 1)
    await ida.picture('poll-phone')
    await ida.page.getByLabel('Transport').selectOption('stream')
    await ida.state('streaming')
    await jim.say('by stream')
    await ida.sees('by stream', 1)
    await ida.go()
    await jim.go()
  })

  it('a token is renewed without losing the stream', async () => {
    const kim = await Person.come(browser(), 'Kim', own('renewal'), desk, '?ttl=12')
    const [stream] = kim.streams
    const asked = kim.tokens
    // Two renewals are longer than the first token lives.
    await kim.page.waitForFunction((n) => document.getElementById('state').dataset.tokens >= n, asked + 2)
    assert.deepEqual([...kim.streams], [stream])
    await kim.say('still here')
    await kim.ticked('still here', 'stored')
    await kim.go()
  })
}
