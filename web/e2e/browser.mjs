// The browsers of the tests: those of the system, not Playwright's own.
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { chromium, firefox } from 'playwright-core'

const need = fileURLToPath(new URL('../../scripts/need', import.meta.url))

const find = (kind, what) => spawnSync(need, ['find', kind, what], { encoding: 'utf8' })

/** Why the test named what must be skipped; undefined if the browser exists. scripts/need decides that, and counts. */
export function missing(kind, what) {
  const { status, stderr, error } = find(kind, what)
  if (status === 3) return stderr.trim()
  if (status !== 0) throw error ?? new Error(stderr)
}

/** Starts a browser. It makes no requests other than those of its pages. */
export async function launch(kind) {
  const { status, stdout, stderr } = find(kind, 'a test that did not ask for it')
  if (status !== 0) throw new Error(stderr)
  const executablePath = stdout.trim()
  if (kind === 'chromium') {
    return chromium.launch({
      executablePath,
      args: [
        '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
        '--disable-component-update', '--disable-sync',
      ],
    })
  }
  // This channel is driven by WebDriver BiDi, which any Firefox speaks.
  return firefox.launch({
    executablePath, channel: 'moz-firefox',
    firefoxUserPrefs: {
      'layout.css.prefers-color-scheme.content-override': 0, // dark: BiDi cannot choose it for a page
      'network.captive-portal-service.enabled': false, 'services.settings.server': 'data:,',
    },
  })
}

export const phone = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true }
export const desk = { viewport: { width: 1280, height: 800 } }
