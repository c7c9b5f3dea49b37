/** Whether two ages mean one clock on the way. */
export const same = (a: number, b: number): boolean => b > 0 && Math.abs(a - b) <= Math.max(300, b / 10)

const longest = 25 // seconds
const fullPage = 100

/** How long polls are held, and how much they bring: what the way lets through. */
export class Hold {
  /** Seconds; 0: polls are not held at all. */
  wait = longest
  /** Events of a page. */
  limit = fullPage
  #fail = 0 // age at which the last held poll failed

  /** A page came. lasted: it was held to its end, so a cut before was chance. */
  page(lasted: boolean): void {
    this.limit = Math.min(fullPage, this.limit * 2)
    if (lasted) this.#fail = 0
  }

  /** The page broke off while it came: a smaller one may pass. */
  broken(): void {
    this.limit = Math.max(1, this.limit >> 1)
  }

  /** A held poll failed at this age; reports whether something there cuts, and holds less then. */
  failed(age: number, certain: boolean): boolean {
    const constant = certain || same(age, this.#fail)
    this.#fail = constant ? 0 : age
    if (constant) this.shorten(age)
    return constant
  }

  /** Stays below an age at which something on the way cuts. */
  shorten(age: number): void {
    const wait = Math.min(this.wait / 2, age * 0.0007)
    this.wait = wait < 1 ? 0 : Math.floor(wait * 10) / 10
  }

  /** Dares more, from time to time. */
  lengthen(): void {
    this.wait = Math.min(longest, this.wait * 2 || 1)
  }
}
