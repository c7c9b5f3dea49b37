// The browsers of the tests: those of the system, not ones of Playwright's own.
import { existsSync, readFileSync } from 'node:fs'
import { chromium, firefox } from 'playwright-core'

const programs = {
  chromium: [
    process.env.CULVERT_CHROMIUM, '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome',
    '/Applications/Chromium.app/Contents/MacOS/Chromium',
  ],
  firefox: [
    process.env.CULVERT_FIREFOX, '/usr/bin/firefox-esr', '/usr/bin/firefox', '/Applications/Firefox.app/Contents/MacOS/firefox',
  ],
}

const find = (kind) => programs[kind].find((p) => p && existsSync(p))

/** Starts a browser. It asks nothing of the network but what the pages do. */
export async function launch(kind) {
  const executablePath = find(kind)
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

/** Why there are no tests in Firefox; undefined where there must be: Debian has the package. */
export function withoutFirefox() {
  if (find('firefox')) return
  const debian = existsSync('/etc/os-release') && /^ID=debian$/m.test(readFileSync('/etc/os-release', 'utf8'))
  if (process.env.CI !== 'true' || !debian) return 'there is no Firefox here (scripts/need test installs it where it can)'
}

export const phone = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true }
export const desk = { viewport: { width: 1280, height: 800 } }
