// A browser whose pages can be put to sleep.

/**
 * Stops the processes of all pages of a Chromium, as a phone does, and returns a function that
 * wakes them. DevTools cannot freeze a page that Playwright drives, because such a page always counts as
 * visible, and visible pages are not frozen.
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
