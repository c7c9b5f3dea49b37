/**
 * Watches what a page's life means for a connection, until the signal aborts. network:
 * it changed; came: it is there. seen: the page is looked at again, after it may have
 * slept. hidden: it goes, perhaps to come back as it was. restored: it came back as it
 * was, with all its connections dead. In a worker there is only the network, in Node nothing.
 */
export function watchPage(
  signal: AbortSignal, network: (came: boolean) => void, seen: () => void, hidden: () => void, restored: () => void,
): void {
  const { document } = globalThis
  const on = (target: EventTarget | undefined, name: string, f: (e: any) => void) =>
    target?.addEventListener?.(name, f, { signal })
  on(globalThis, 'online', () => network(true))
  on(globalThis, 'offline', () => network(false))
  on(globalThis, 'pagehide', hidden)
  on(globalThis, 'pageshow', (e: PageTransitionEvent) => e.persisted && restored())
  on(document, 'visibilitychange', () => document.visibilityState === 'visible' && seen())
  on(document, 'resume', seen)
}
