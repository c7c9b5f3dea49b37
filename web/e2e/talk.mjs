// Tests in which people talk; they are the same in every browser.
import assert from 'node:assert/strict'
import { it } from 'node:test'
import { phone } from './browser.mjs'
import { intrude, own, Person } from './person.mjs'

/** Defines the tests, each in rooms of its own, so that they can run at once. */
export function talk(browser) {
  it('two people talk, with rooms, presence, typing and ticks', async () => {
    const [lock, weir] = [own('lock'), own('weir')]
    for (const data of [undefined, 7, { id: {}, text: [] }, { text: 'no id' }]) await intrude(lock, { event: 'message', data })
    const ann = await Person.come(browser(), 'Ann', lock)
    const bob = await Person.come(browser(), 'Bob', lock, { ...phone, colorScheme: 'dark' })
    await ann.page.locator('#people .online', { hasText: 'Bob' }).waitFor()
    await ann.say('Good morning! Is the new lock gate in?')
    assert.deepEqual(await bob.sees('Good morning', 1), ['Good morning! Is the new lock gate in?'])
    await bob.page.locator('#count', { hasText: '2 online' }).waitFor()
    await ann.ticked('Good morning', 'delivered to 1')
    await intrude(lock, { event: 'message', data: null })
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
    await bob.picture('talk-phone')
    await ann.picture('talk-desk')

    for (const p of [ann, bob]) await p.open(weir)
    await bob.page.locator('#people .online', { hasText: 'Ann' }).waitFor({ state: 'attached' })
    await bob.say('Only at the weir')
    await ann.sees('Only at', 1)
    await bob.page.getByRole('link', { name: lock }).click()
    await bob.sees('Splendid', 1)
    assert.equal(await bob.page.locator('.message', { hasText: 'Only at' }).count(), 0)
    await ann.say('Tea is ready')
    await bob.page.getByRole('link', { name: `${weir} 1 unread` }).waitFor()
    await bob.page.locator('#who summary').click()
    await bob.picture('people-phone')
    await ann.page.getByRole('button', { name: 'Leave' }).click()
    await ann.page.locator('#title', { hasText: 'lobby' }).waitFor()
    // A person who has left a room gets nothing from it any more, not even an unread mark.
    await bob.page.getByRole('link', { name: weir }).click()
    await bob.page.locator('#count', { hasText: '1 online' }).waitFor()
    await bob.say('Is anybody here?')
    await bob.ticked('Is anybody', 'stored')
    await ann.page.getByRole('link', { name: lock }).click()
    await ann.sees('Splendid', 1)
    assert.equal(await ann.page.getByRole('link', { name: weir }).count(), 0)
    await bob.go()
    await ann.go()
  })
}
