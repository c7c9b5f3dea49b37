// A browser whose pages can be put to sleep.

/**
 * Stops the processes of all pages of a Chromium, as a phone does, and returns what
 * wakes them. DevTools cannot freeze a page that Playwright drives: to it the page is
 * always looked at, and such a page is not frozen.
 */
export async function sleep(browser) {
  const devtools = await browser.newBrowserCDPSession()
  const { processInfo } = await devtools.send('SystemInfo.getProcessInfo')
  const pages = processInfo.filter((p) => p.type === 'renderer').map((p) => p.id)
  const all = (signal) => pages.forEach((id) => process.kill(id, signal))
  all('SIGSTOP')
  return () => all('SIGCONT')
}

/** Whether the page does anything at all. */
export const awake = (page) => Promise.race([
  page.evaluate(() => true), new Promise((over) => setTimeout(over, 500, false)),
])
