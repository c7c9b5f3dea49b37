// Tests the demo with more people than it gives tokens to. This runs after the other tests, because it takes all tokens.
import assert from 'node:assert/strict'
import { after, before, it } from 'node:test'
import { launch, missing, phone } from './browser.mjs'
import { own, Person, url } from './person.mjs'

const crowd = 'a crowd at the door: told when to come back, and let in then'
const skip = missing('chromium', crowd)
let browser
before(async () => (browser = skip ? undefined : await launch('chromium')))
after(() => browser?.close())

/** Runs f while a crowd takes all tokens. */
async function crowded(f) {
  const ask = async () => (await fetch(new URL('token', url), {
    method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ name: 'Mob', secret: 'mob0123456789abcdefgh' }),
  })).status
  let stop = false
  let empty
  const gone = new Promise((resolve) => (empty = resolve))
  const asking = Promise.all(Array.from({ length: 20 }, async () => {
    while (!stop) {
      if (await ask() !== 429) continue
      empty()
      await new Promise((again) => setTimeout(again, 20)) // so that the crowd does not use the whole machine
    }
  }))
  try {
    await Promise.race([gone, asking])
    await f()
  } finally {
    stop = true
    await asking
  }
}

/**
 * Repeats an attempt until the page shows that there is no token. Every half second there
 * is a token for the first request, which may be the person's and not the crowd's: then letIn ends.
 */
async function turnedAway(sign, letIn, attempt) {
  for (let tries = 0; tries < 10; tries++) {
    await attempt()
    const ends = [letIn().then(() => true), sign.waitFor().then(() => false)]
    ends.forEach((end) => end.catch(() => {})) // the one that comes second may fail
    if (!await Promise.race(ends)) return
  }
  assert.fail('was let in each time')
}

it(crowd, { skip, timeout: 180_000 }, async () => {
  const eli = await Person.arrive(browser, own('door'), phone)
  const comeIn = eli.page.getByRole('button', { name: 'Come in' })
  await crowded(async () => {
    const alert = eli.page.getByRole('alert').filter({ hasText: 'too many people are joining at once; try again in 1 s' })
    await turnedAway(alert, () => eli.page.locator('#chat').waitFor(), async () => {
      await eli.page.evaluate(() => localStorage.clear()) // nobody yet
      await eli.page.reload()
      await eli.page.getByLabel('Your name').fill('Eli')
      await comeIn.click()
    })
    await eli.picture('crowd-phone')
  })
  await new Promise((over) => setTimeout(over, 1000)) // as told
  await comeIn.click()
  await eli.connected() // the chat needs one more token, and waits for it by itself

  await crowded(async () => {
    await turnedAway(eli.page.locator('#pending', { hasText: 'Not let in yet: too many people' }), () => eli.connected(), () => eli.page.reload())
    await eli.picture('not-yet-phone')
  })
  await eli.connected()
  assert.equal(await eli.page.locator('#pending').textContent(), '')
  await eli.go()
})
