/**
 * Why a request, an emit or the connection failed. status is that of the answer;
 * 0 when there was none, or when the fault was found before asking.
 */
export class CulvertError extends Error {
  override name = 'CulvertError'

  constructor(
    message: string,
    readonly status = 0,
    /** Such as `/problems/forbidden`, which the server explains. */
    readonly type = '',
    /** What of the request is at fault, such as `events[3].room`. */
    readonly field?: string,
    /** Seconds after which the server wants to be asked again. */
    readonly retryAfter = 0,
    /** The answer is not Culvert's: something on the way made it. */
    readonly foreign = false,
  ) {
    super(message)
  }
}

/** Reports whether asking again may help: anything but a refusal by Culvert itself. */
export function temporary(error: unknown): boolean {
  if (!(error instanceof CulvertError)) return true
  const { status, foreign } = error
  return !status || status === 408 || status === 429 || status >= 500 || (foreign && status !== 413)
}

const longest = 300 // seconds a server may ask to wait

/** Seconds of a Retry-After header in either form, RFC 9110 section 10.2.3. */
export function retryAfter(value: string | null, wall: number): number {
  if (!value) return 0
  const seconds = /^\d+$/.test(value) ? +value : (Date.parse(value) - wall) / 1000
  return Math.min(Math.max(seconds || 0, 0), longest)
}

/** Reads an answer that is no success. */
export async function problem(r: Response, wall: number): Promise<CulvertError> {
  const ours = r.headers.get('content-type')?.includes('problem+json')
  const body = ours ? await r.json().catch(() => undefined) : undefined
  const after = retryAfter(r.headers.get('retry-after'), wall)
  if (!body) {
    void r.body?.cancel().catch(() => {})
    return new CulvertError(`HTTP status ${r.status}`, r.status, '', undefined, after, true)
  }
  return new CulvertError(body.detail || body.title, r.status, body.type, body.field, after)
}
