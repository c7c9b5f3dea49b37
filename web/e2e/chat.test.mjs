// The chat, used by people in real browsers against a real server.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { desk, intrude, launch, numbered, Person, phone } from './browser.mjs'

let browser
before(async () => (browser = await launch()))
after(() => browser?.close())

const dark = { colorScheme: 'dark' }

// Each in a room of its own, so that they can run at once.
describe('the chat', { concurrency: 4 }, () => {
  it('two people talk: rooms, presence, typing, ticks', async () => {
    for (const data of [undefined, 7, { id: {}, text: [] }, { text: 'no id' }]) await intrude('lobby', { event: 'message', data })
    const ann = await Person.come(browser, 'Ann', 'lobby')
    const bob = await Person.come(browser, 'Bob', 'lobby', { ...phone, ...dark })
    await ann.page.locator('#people .online', { hasText: 'Bob' }).waitFor()
    await ann.say('Good morning! Is the new lock gate in?')
    await bob.sees('Good morning', 1)
    await bob.page.locator('#count', { hasText: '2 online' }).waitFor()
    await ann.ticked('Good morning', 'delivered to 1')
    await intrude('lobby', { event: 'message', data: null })
    await bob.page.getByLabel('Message', { exact: true }).pressSequentially('Yes')
    await ann.page.locator('#typing', { hasText: 'Bob is typing' }).waitFor()
    await ann.picture('typing-desk')
    await bob.say('Yes, since seven. <b>No</b> leaks so far, and the level is back where it was before the storm.')
    assert.match((await ann.sees('Yes', 1))[0], /<b>No<\/b>/)
    assert.equal(await ann.page.locator('#typing').textContent(), '')
    for (const text of ['I walked the whole length of it.', 'Photos follow when I have a network that deserves the name.']) await bob.say(text)
    await ann.sees('Photos', 1)
    await ann.say('Splendid, thank you.')
    await bob.sees('Splendid', 1)
    await bob.ticked('Photos', 'delivered to 1')
    await bob.picture('talk-phone-dark')
    await ann.picture('talk-desk')

    await bob.page.getByRole('link', { name: 'kitchen' }).click()
    await ann.page.getByRole('link', { name: 'kitchen' }).click()
    await bob.page.locator('#people .online', { hasText: 'Ann' }).waitFor({ state: 'attached' })
    await bob.say('Only in the kitchen')
    await ann.sees('Only in', 1)
    await bob.page.getByRole('link', { name: 'lobby' }).click()
    assert.deepEqual(await bob.page.locator('.message', { hasText: 'Only in' }).count(), 0)
    await ann.say('Tea is ready')
    await bob.page.locator('#rooms .badge', { hasText: '1' }).waitFor()
    await bob.page.locator('#who summary').click()
    await bob.picture('people-phone-dark')
    await ann.page.getByRole('button', { name: 'Leave' }).click()
    await ann.page.locator('#title', { hasText: 'lobby' }).waitFor()
    await ann.sees('Splendid', 1)
    await bob.go()
    await ann.go()
  })

  it('reload and offline: nothing lost, nothing doubled', async () => {
    const cid = await Person.come(browser, 'Cid', 'garden', phone)
    const dora = await Person.come(browser, 'Dora', 'garden', { ...desk, ...dark })
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

    // The same by the browser's own network, which the page does not know about.
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
    await dora.picture('after-desk-dark')
    await cid.go()
    await dora.go()
  })

  it('six tabs share one stream, and the next one takes over', async () => {
    const eve = await Person.come(browser, 'Eve', 'tabs')
    const fay = await Person.come(browser, 'Fay', 'tabs')
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

  it('a page that was frozen has everything when it comes back', async () => {
    const gus = await Person.come(browser, 'Gus', 'sleep', phone)
    const hal = await Person.come(browser, 'Hal', 'sleep')
    await hal.page.locator('#people .online', { hasText: 'Gus' }).waitFor()
    const page = await gus.context.newCDPSession(gus.page)
    await page.send('Page.setWebLifecycleState', { state: 'frozen' })
    const texts = numbered('night', 5)
    for (const text of texts) await hal.say(text)
    await hal.ticked('night-4', 'stored')
    await page.send('Page.setWebLifecycleState', { state: 'active' })
    assert.deepEqual(await gus.sees('night', 5), texts)
    await gus.say('morning')
    await hal.sees('morning', 1)
    await gus.go()
    await hal.go()
  })

  it('either transport, chosen by hand', async () => {
    const ida = await Person.come(browser, 'Ida', 'ways', phone)
    const jim = await Person.come(browser, 'Jim', 'ways')
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
    const kim = await Person.come(browser, 'Kim', 'renewal', desk, '?ttl=6')
    const [stream] = kim.streams
    const asked = kim.tokens
    // Two renewals are longer than the first token lives.
    await kim.page.waitForFunction((n) => document.getElementById('state').dataset.tokens >= n, asked + 2)
    assert.deepEqual([...kim.streams], [stream])
    await kim.say('still here')
    await kim.ticked('still here', 'stored')
    await kim.go()
  })

  it('by keyboard alone, and what the page asks for first', async () => {
    const lea = await Person.arrive(browser, 'blind', phone)
    const { page } = lea
    assert.equal(await page.evaluate(() => document.activeElement.id), 'name')
    await page.keyboard.type('@Lea')
    await page.keyboard.press('Enter')
    await page.getByRole('alert').filter({ hasText: 'must not begin with @' }).waitFor()
    await lea.picture('entry-phone')
    await page.keyboard.press('Control+A')
    await page.keyboard.type('Lea')
    await page.keyboard.press('Enter')
    await lea.connected()
    // Nothing can be reached that has no name.
    const unnamed = await page.locator('button, input, select, textarea, a').evaluateAll((all) => all.filter((e) =>
      !(e.labels?.length || e.ariaLabel || e.textContent.trim())).map((e) => e.outerHTML))
    assert.deepEqual(unnamed, [])
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)
    assert.ok(overflow <= 0, `${overflow}px wider than the screen`)
    await page.locator('#log').focus()
    await page.keyboard.press('Tab')
    await page.keyboard.type('typed blind')
    await page.keyboard.press('Enter')
    await page.locator('.message', { hasText: 'typed blind' }).waitFor()
    await lea.go()
  })
})
