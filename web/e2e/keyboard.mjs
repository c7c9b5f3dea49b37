// Tests of the chat without a mouse; they are the same in every browser.
import assert from 'node:assert/strict'
import { it } from 'node:test'
import { phone } from './browser.mjs'
import { own, Person } from './person.mjs'

/** A test that runs alone in the browser, because another page would take the focus. */
export function keyboard(browser) {
  it('the chat can be used by keyboard alone, and the first focus is right', async () => {
    const room = own('blind')
    const lea = await Person.arrive(browser(), room, phone)
    const { page } = lea
    const keys = page.keyboard
    assert.equal(await page.evaluate(() => document.activeElement.id), 'name')
    await keys.type('@Lea')
    await keys.press('Enter')
    await page.getByRole('alert').filter({ hasText: 'must not begin with @' }).waitFor()
    await lea.picture('entry-phone')
    await keys.press('Control+A')
    await keys.type('Lea')
    await keys.press('Enter')
    await lea.connected()
    // Every control has a name.
    const unnamed = await page.locator('button, input, select, textarea, a').evaluateAll((all) => all.filter((e) =>
      !(e.ariaLabel || (e.matches('input, select, textarea') ? e.labels.length : e.textContent.trim()))).map((e) => e.outerHTML))
    assert.deepEqual(unnamed, [])

    // Every control is reached, in the order of the page, and shows that it has the focus.
    await page.evaluate(() => document.activeElement.blur())
    await lea.tabTo('#transport')
    await keys.press('ArrowDown')
    await keys.press('ArrowDown')
    await lea.tabTo('#offline') // leaving an opened list selects its entry
    await lea.state('long polling')
    await keys.press('Enter')
    await lea.state('offline')
    assert.equal(await page.getByRole('button', { name: 'Offline', pressed: true }).count(), 1)
    await keys.press('Space')
    await lea.connected()
    await lea.tabTo('#rooms a[aria-current]')
    await lea.tabTo('#room-name')
    await keys.type(own('Second Room'))
    await keys.press('Enter')
    await page.locator('#title', { hasText: own('second-room') }).waitFor()
    await lea.connected()
    await lea.focused('#text') // opening a room moves the focus to the text field
    await keys.type('two')
    await keys.press('Shift+Enter')
    await keys.type('lines')
    await keys.press('Enter')
    assert.deepEqual(await lea.sees('two', 1), ['two\nlines'])
    await lea.tabTo('#log', 'Shift+Tab')
    await lea.tabTo('#who summary', 'Shift+Tab')
    await keys.press('Enter')
    await page.locator('#people').waitFor()
    await lea.tabTo('#leave', 'Shift+Tab')
    await lea.tabTo('#rename', 'Shift+Tab')
    await lea.tabTo('#leave')
    await keys.press('Enter')
    await page.locator('#title', { hasText: 'lobby' }).waitFor()
    await lea.go()
  })
}
