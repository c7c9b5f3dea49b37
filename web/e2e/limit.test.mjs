// More people than the demo gives tokens to. Run after the others: it leaves none to them.
import assert from 'node:assert/strict'
import { after, before, it } from 'node:test'
import { launch, phone } from './browser.mjs'
import { own, Person, url } from './person.mjs'

let browser
before(async () => (browser = await launch('chromium')))
after(() => browser?.close())

/** Asks for tokens until there are none, and on, so that there stay none; returns what ends that. */
async function crowd() {
  const ask = async () => (await fetch(new URL('token', url), {
    method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ name: 'Mob', device: 'mob00001' }),
  })).status
  let stop = false
  let empty
  const gone = new Promise((resolve) => (empty = resolve))
  const asking = (async () => {
    while (!stop) {
      const answers = await Promise.all(Array.from({ length: 20 }, ask))
      if (answers.includes(429)) empty()
    }
  })()
  await gone
  return () => (stop = true, asking)
}

it('a crowd at the door: told when to come back, and let in then', { timeout: 120_000 }, async () => {
  const eli = await Person.arrive(browser, own('door'), phone)
  let disperse = await crowd()
  await eli.page.getByLabel('Your name').fill('Eli')
  await eli.page.getByRole('button', { name: 'Come in' }).click()
  const alert = eli.page.getByRole('alert')
  await alert.filter({ hasText: 'too many people come in at once; try again in 1 s' }).waitFor()
  await eli.picture('crowd-phone')
  await disperse()
  await new Promise((over) => setTimeout(over, 1000)) // as told
  await eli.page.getByRole('button', { name: 'Come in' }).click()
  await eli.connected() // the chat needs one more, and waits for it by itself

  disperse = await crowd()
  await eli.page.reload()
  await eli.page.locator('#pending', { hasText: 'Not let in yet: too many people' }).waitFor()
  await eli.picture('not-yet-phone')
  await disperse()
  await eli.connected()
  assert.equal(await eli.page.locator('#pending').textContent(), '')
  await eli.go()
})
