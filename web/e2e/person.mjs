// People who use the chat, each with their own browser context.
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { desk } from './browser.mjs'

export const url = process.env.CULVERT_DEMO_URL ?? 'http://127.0.0.1:8080/demo/'
const pictures = process.env.CULVERT_SCREENSHOTS ?? 'screenshots'

// To take a picture in Firefox, Playwright adds this style to the page, and the page's policy refuses it.
const playwrights = createHash('sha256').update('body {}').digest('base64')

/** One person, with a browser context. */
export class Person {
  /** The open streams, and the number of requested tokens. */
  streams = new Set()
  tokens = 0
  faults = []

  /** Opens the page for the first time. */
  static async arrive(browser, room, options = desk, query = '', at = url) {
    const p = new Person()
    p.url = at
    p.query = query
    p.room = room
    p.browser = browser.browserType().name()
    const { isMobile, ...others } = options
    p.context = await browser.newContext({ locale: 'en-GB', ...others, ...(p.browser === 'chromium' && { isMobile }) })
    p.context.setDefaultTimeout(60_000) // machines may be busy
    p.context.on('request', (r) => {
      if (r.url().endsWith('/demo/token')) p.tokens++
      if (r.headers().accept === 'text/event-stream') p.streams.add(r)
    })
    for (const end of ['requestfinished', 'requestfailed']) p.context.on(end, (r) => p.streams.delete(r))
    p.page = await p.tab()
    return p
  }

  /** The same, and then enters a name and waits until the person is in the room. */
  static async come(browser, name, room, options, query, at) {
    const p = await Person.arrive(browser, room, options, query, at)
    await p.page.getByLabel('Your name').fill(name)
    await p.page.getByRole('button', { name: 'Come in' }).click()
    await p.connected()
    return p
  }

  /** Opens another tab, and records its errors. */
  async tab() {
    const page = await this.context.newPage()
    // The requests of a closed page end without an event.
    page.on('close', () => this.streams.forEach((r) => r.frame().page() === page && this.streams.delete(r)))
    page.on('pageerror', (e) => e.message.includes(playwrights) || this.faults.push(e.message))
    page.on('console', (m) => /Content Security|Trusted/.test(m.text()) && this.faults.push(m.text()))
    await page.goto(`${this.url}${this.query}#${this.room}`)
    return page
  }

  async connected(page = this.page) {
    await page.locator('html[data-state=connected]').waitFor({ state: 'attached' })
    await page.locator('#people .online', { hasText: '(you)' }).waitFor({ state: 'attached' }) // the person is in the room
  }

  async say(text, page = this.page) {
    await page.getByLabel('Message', { exact: true }).fill(text)
    await page.keyboard.press('Enter')
  }

  /** Waits for `count` messages with this prefix and returns the texts of all of them. */
  async sees(prefix, count, page = this.page) {
    const texts = page.locator('.message .text').filter({ hasText: new RegExp('^' + prefix) })
    await texts.nth(count - 1).waitFor({ state: 'attached' })
    return texts.allTextContents()
  }

  /** Waits until the message with this text has these ticks. */
  async ticked(text, words, page = this.page) {
    await page.locator('.message').filter({ hasText: text }).locator('.tick', { hasText: words }).first().waitFor()
  }

  /** Opens a room by its name. */
  async open(room) {
    await this.page.getByLabel('Another room').fill(room)
    await this.page.keyboard.press('Enter')
    await this.page.locator('#title', { hasText: room }).waitFor()
    await this.connected()
  }

  /** Presses Tab until the element has the focus, and checks that every focused element shows it. */
  async tabTo(selector, key = 'Tab') {
    for (let i = 0; i < 30; i++) {
      await this.page.keyboard.press(key)
      const here = await this.page.evaluate((wanted) => {
        const e = document.activeElement
        return { wanted: e.matches(wanted), shown: e === document.body || getComputedStyle(e).outlineStyle !== 'none', html: e.outerHTML }
      }, selector)
      assert.ok(here.shown, `has the focus and does not show it: ${here.html}`)
      if (here.wanted) return
    }
    assert.fail(`${key} does not lead to ${selector}`)
  }

  async focused(selector) {
    await this.page.locator(`${selector}:focus`).waitFor()
  }

  async state(words, page = this.page) {
    await page.locator('#state', { hasText: words }).waitFor()
  }

  /** Takes a picture, and checks that everything fits on the screen. */
  async picture(name, page = this.page) {
    assert.deepEqual(await page.evaluate(misfits, page.viewportSize()), [], name)
    const dark = await page.evaluate(() => matchMedia('(prefers-color-scheme: dark)').matches)
    mkdirSync(pictures, { recursive: true })
    const path = `${pictures}/${this.browser}-${name}${dark ? '-dark' : ''}.png`
    await page.screenshot({ path, animations: 'disabled' })
  }

  async go() {
    await this.context.close()
    assert.deepEqual(this.faults, [])
  }
}

/** Runs in the page: returns what is wider than the screen, and controls that something hides. */
function misfits({ width, height }) {
  const { scrollWidth, scrollHeight } = document.documentElement
  const all = [...document.querySelectorAll('header :is(select, button), #composer *, .room button, summary, #entry :is(input, button)')]
  const hidden = all.filter((e) => e.checkVisibility() && getComputedStyle(e).pointerEvents !== 'none').filter((e) => {
    const { left, right, top, bottom } = e.getBoundingClientRect()
    const at = document.elementFromPoint((left + right) / 2, (top + bottom) / 2)
    return left < 0 || right > width || top < 0 || bottom > height || !(e.contains(at) || at?.contains(e) && at.matches('button'))
  })
  const cut = [...document.querySelectorAll('#state, .room button, summary')].filter((e) => e.scrollWidth > e.clientWidth)
  return [
    ...(scrollWidth > width ? [`the page is ${scrollWidth} wide`] : []),
    ...(scrollHeight > height && document.getElementById('entry').hidden ? [`the page is ${scrollHeight} high`] : []),
    ...[...hidden.filter((e) => !e.matches('.unseen')), ...cut].map((e) => e.outerHTML),
  ]
}

/** Emits an event to a room of the chat that the chat's page would never send. */
export async function intrude(room, event) {
  const post = async (path, body, token) => {
    const headers = { 'Content-Type': 'application/json', ...(token && { Authorization: `Bearer ${token}` }) }
    const answer = await fetch(new URL(path, url), { method: 'POST', headers, body: JSON.stringify(body) })
    assert.ok(answer.ok, `${path}: ${answer.status}`)
    return answer.json()
  }
  const { token } = await post('token', { name: 'Mallory', secret: 'mallorys0123456789abcdef' })
  await post('../v1/demo/emit', { room: `chat-${room}`, ...event }, token)
}

/** Makes a name that no other run uses, also on the same server. */
const run = Math.random().toString(36).slice(2, 5)
export const own = (room) => `${room}-${run}`

export const numbered = (prefix, n) => Array.from({ length: n }, (_, i) => `${prefix}-${i}`)
