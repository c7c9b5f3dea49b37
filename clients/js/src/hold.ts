/** Whether two ages may come from one timeout of a proxy. */
export const same = (a: number, b: number): boolean => b > 0 && Math.abs(a - b) <= Math.max(300, b / 10)

const longest = 25 // seconds
const fullPage = 100

/** How long polls are held, and how many events they ask for: as much as the proxies let through. */
export interface Hold {
  /** Seconds; 0: polls are not held at all. */
  wait: number
  /** Events of a page. */
  limit: number
  /** A page came. lasted: the poll was held for its full time, so an earlier cut was chance. */
  page(lasted: boolean): void
  /** The page was incomplete: a smaller one may pass. */
  broken(): void
  /** A held poll failed at this age. Returns whether a proxy cuts polls, which are then held for less time. */
  failed(age: number, certain: boolean | undefined): boolean
  /** Makes polls shorter than the age at which a proxy cuts them. */
  shorten(age: number): void
  /** Holds polls for longer again, from time to time. */
  lengthen(): void
}

export function createHold(): Hold {
  let last = 0 // age at which the last held poll failed
  const hold: Hold = {
    wait: longest,
    limit: fullPage,
    page(lasted) {
      hold.limit = Math.min(fullPage, hold.limit * 2)
      if (lasted) last = 0
    },
    broken() {
      hold.limit = Math.max(1, hold.limit >> 1)
    },
    failed(age, certain) {
      const constant = certain || same(age, last)
      last = constant ? 0 : age
      if (constant) hold.shorten(age)
      return constant
    },
    shorten(age) {
      const wait = Math.min(hold.wait / 2, age * 0.0007)
      hold.wait = wait < 1 ? 0 : Math.floor(wait * 10) / 10
    },
    lengthen() {
      hold.wait = Math.min(longest, hold.wait * 2 || 1)
    },
  }
  return hold
}
