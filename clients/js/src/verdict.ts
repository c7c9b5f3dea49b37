import type { Transport } from './types.js'

/** What was found out about the transports to one server. */
export interface Verdict {
  transport: Transport
  /** How many seconds a poll may be held; 0: not at all. */
  wait: number
  /** How many milliseconds a stream may last; Infinity, which JSON makes null: without a limit. */
  life: number | null
  /** When the stream is tried again (ms since 1970), and how often that failed. */
  retryStreamAt: number
  round: number
}

/** Keeps verdicts, by origin. */
export interface Verdicts {
  load(origin: string): Verdict | undefined
  save(origin: string, verdict: Verdict | undefined): void
}

/** Verdicts that last as long as the program. */
export function memoryVerdicts(): Verdicts {
  const known: Record<string, Verdict | undefined> = {}
  return { load: (origin) => known[origin], save: (origin, v) => void (known[origin] = v) }
}

const shared = memoryVerdicts()
const key = (origin: string) => 'culvert:' + origin

/** Verdicts in localStorage; if there is none, or it is full or forbidden, in memory. */
export const localVerdicts: Verdicts = {
  load(origin) {
    try {
      const v = JSON.parse(localStorage[key(origin)])
      if (v.wait + v.retryStreamAt + v.round >= 0) return v
    } catch {}
    return shared.load(origin)
  },
  save(origin, v) {
    shared.save(origin, v)
    try {
      localStorage[key(origin)] = JSON.stringify(v ?? null)
    } catch {}
  },
}
