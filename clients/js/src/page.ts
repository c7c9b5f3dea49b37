/** What a page's life means for a connection. */
export interface PageLife {
  /** The network changed; came: it is there. */
  network(came: boolean): void
  /** The page is looked at again, after it may have slept. */
  seen(): void
  /** It goes, perhaps to come back as it was. */
  hidden(): void
  /** It came back as it was, with all its connections dead. */
  restored(): void
}

/** Watches the page until the signal aborts. Elsewhere than in a page it does nothing. */
export function watchPage(life: PageLife, signal: AbortSignal): void {
  const { window, document } = globalThis
  if (!document || !window?.addEventListener) return
  const on = (target: EventTarget, name: string, f: (e: any) => void) => target.addEventListener(name, f, { signal })
  on(window, 'online', () => life.network(true))
  on(window, 'offline', () => life.network(false))
  on(window, 'pagehide', life.hidden)
  on(window, 'pageshow', (e: PageTransitionEvent) => e.persisted && life.restored())
  on(document, 'visibilitychange', () => document.visibilityState === 'visible' && life.seen())
  on(document, 'resume', life.seen)
}
