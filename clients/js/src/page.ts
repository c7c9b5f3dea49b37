/**
 * Calls the given functions when a page's state matters to a connection, until the signal aborts.
 * network: the network changed; came: there is a network again. seen: the page is visible again, after it
 * may have slept. hidden: the page is left, and may be restored later. restored: the page was restored,
 * and all its connections are dead. In a worker only the network is watched, in Node nothing.
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
