// The browser of the tests, and people who use the chat in it.
import assert from 'node:assert/strict'
import { existsSync, mkdirSync } from 'node:fs'
import { chromium } from 'playwright-core'

const url = process.env.CULVERT_DEMO_URL ?? 'http://127.0.0.1:8080/demo/'
const pictures = process.env.CULVERT_SCREENSHOTS ?? 'screenshots'
const programs = [
  process.env.CULVERT_CHROMIUM, '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome',
  '/Applications/Chromium.app/Contents/MacOS/Chromium',
]

/** Starts the browser. It asks nothing of the network but what the pages do. */
export async function launch() {
  return chromium.launch({
    executablePath: programs.find((p) => p && existsSync(p)),
    args: [
      '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync',
    ],
  })
}

export const phone = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true }
export const desk = { viewport: { width: 1280, height: 800 } }

/** Somebody with a browser of their own. */
export class Person {
  /** Streams that are open, and how many tokens were asked for. */
  streams = new Set()
  tokens = 0
  faults = []

  /** Opens the page for the first time. */
  static async arrive(browser, room, options = desk, query = '') {
    const p = new Person()
    p.query = query
    p.room = room
    p.context = await browser.newContext({ locale: 'en-GB', ...options })
    p.context.on('request', (r) => {
      if (r.url().endsWith('/demo/token')) p.tokens++
      if (r.headers().accept === 'text/event-stream') p.streams.add(r)
    })
    for (const end of ['requestfinished', 'requestfailed']) p.context.on(end, (r) => p.streams.delete(r))
    p.page = await p.tab()
    return p
  }

  /** The same, and gives a name and is in the room then. */
  static async come(browser, name, room, options, query) {
    const p = await Person.arrive(browser, room, options, query)
    await p.page.getByLabel('Your name').fill(name)
    await p.page.getByRole('button', { name: 'Come in' }).click()
    await p.connected()
    return p
  }

  /** Another tab; what goes wrong in it is remembered. */
  async tab() {
    const page = await this.context.newPage()
    // A page that closes takes its requests along without a word.
    page.on('close', () => this.streams.forEach((r) => r.frame().page() === page && this.streams.delete(r)))
    page.on('pageerror', (e) => this.faults.push(e.message))
    page.on('console', (m) => /Content Security|Trusted/.test(m.text()) && this.faults.push(m.text()))
    await page.goto(`${url}${this.query}#${this.room}`)
    return page
  }

  async connected(page = this.page) {
    await page.locator('html[data-state=connected]').waitFor({ state: 'attached' })
    await page.locator('#people .online', { hasText: '(you)' }).waitFor({ state: 'attached' }) // in the room, too
  }

  async say(text, page = this.page) {
    await page.getByLabel('Message', { exact: true }).fill(text)
    await page.keyboard.press('Enter')
  }

  /** Waits for the messages with this beginning and returns all of them, as they are shown. */
  async sees(prefix, count, page = this.page) {
    const texts = page.locator('.message .text').filter({ hasText: new RegExp('^' + prefix) })
    await texts.nth(count - 1).waitFor({ state: 'attached' })
    return texts.allTextContents()
  }

  /** Waits until none of the messages waits, and all have these ticks. */
  async ticked(text, words, page = this.page) {
    await page.locator('.message').filter({ hasText: text }).locator('.tick', { hasText: words }).first().waitFor()
  }

  async state(words, page = this.page) {
    await page.locator('#state', { hasText: words }).waitFor()
  }

  async picture(name, page = this.page) {
    mkdirSync(pictures, { recursive: true })
    await page.screenshot({ path: `${pictures}/${name}.png`, animations: 'disabled' })
  }

  async go() {
    await this.context.close()
    assert.deepEqual(this.faults, [])
  }
}

/** Emits to a room of the chat what no page of it would. */
export async function intrude(room, event) {
  const post = async (path, body, token) => {
    const headers = { 'Content-Type': 'application/json', ...(token && { Authorization: `Bearer ${token}` }) }
    const answer = await fetch(new URL(path, url), { method: 'POST', headers, body: JSON.stringify(body) })
    assert.ok(answer.ok, `${path}: ${answer.status}`)
    return answer.json()
  }
  const { token } = await post('token', { name: 'Mallory', device: 'mallory1' })
  await post('../v1/demo/emit', { room: `chat-${room}`, ...event }, token)
}

export const numbered = (prefix, n) => Array.from({ length: n }, (_, i) => `${prefix}-${i}`)
