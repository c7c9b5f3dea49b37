// Tests of a page that is killed while a message is being sent.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { it } from 'node:test'
import { desk } from './browser.mjs'
import { own, Person } from './person.mjs'
import { way } from './way.mjs'

/** Defines the tests; kill ends a person's page abruptly. */
export function killed(browser, kill) {
  for (const reached of [true, false]) {
    const when = reached ? 'between send and response' : 'before the server has it all'
    it(`a page killed ${when}: the message is there exactly once`, async (t) => {
      const room = own(reached ? 'reached' : 'unreached')
      const there = await way()
      t.after(there.close)
      const oda = await Person.come(browser(), 'Oda', room, desk, '', there.url)
      const pip = await Person.come(browser(), 'Pip', room)
      const held = there.hold(reached)
      await oda.say('the sluice is open')
      await held
      await oda.page.locator('#pending', { hasText: '1 message waiting' }).waitFor()
      if (reached) await pip.sees('the sluice', 1)
      await kill(oda)
      oda.page = await oda.tab()
      await oda.connected()
      await oda.ticked('the sluice', 'delivered to 1')
      await oda.page.locator('#pending:empty').waitFor({ state: 'attached' })
      await oda.say('and shut again')
      for (const p of [pip, oda]) {
        await p.sees('and shut', 1)
        assert.deepEqual(await p.page.locator('.message .text').allTextContents(), ['the sluice is open', 'and shut again'])
      }
      // It was sent twice, and only the server prevented that it is stored twice.
      assert.equal(there.keys.length, 3)
      assert.equal(there.keys[0], there.keys[1])
      await oda.go()
      await pip.go()
    })
  }
}

/** Ends the process of a page of Chromium. */
export async function crash(person) {
  const { page } = person
  const devtools = await person.context.newCDPSession(page)
  const crashed = once(page, 'crash')
  devtools.send('Page.crash').catch(() => {}) // the crashed page cannot answer
  await crashed
  await page.close()
}

/** Closes a page. */
export const close = (person) => person.page.close()
