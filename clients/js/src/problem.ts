/** What is known about a failure in addition to its message. */
export interface Facts {
  status?: number
  type?: string
  field?: string | undefined
  retryAfter?: number
  foreign?: boolean
}

/** Why a request, an emit or the connection failed. */
export class CulvertError extends Error {
  override name = 'CulvertError'
  /** The status of the answer; 0 if there was none, or the fault was found before sending. */
  readonly status: number = 0
  /** Such as `/problems/forbidden`, which the server explains. */
  readonly type?: string
  /** The wrong field of the request, such as `events[3].room`. */
  readonly field?: string
  /** How many seconds the server asks to wait before the next try. */
  readonly retryAfter: number = 0
  /** The answer is not from Culvert: a proxy made it. */
  readonly foreign?: boolean

  constructor(message: string, facts?: Facts) {
    super(message)
    Object.assign(this, facts)
  }
}

/** An answer that Culvert cannot have given, whatever its status. */
export const foreign = (status: number, retryAfter = 0): CulvertError =>
  new CulvertError(`HTTP status ${status}, not from Culvert`, { status, retryAfter, foreign: true })

/**
 * Whether trying again may help, which is true unless Culvert itself refused. A
 * token that is not valid yet is refused with a time to wait, and may be tried again.
 */
export function temporary(error: unknown): boolean {
  const { status, foreign, retryAfter } = error as CulvertError
  return !status || (status === 401 && retryAfter > 0) || status === 408 || status === 429 || status >= 500 || (!!foreign && status !== 413)
}

/** Milliseconds the server asks to wait after an error. */
export const asked = (error: unknown): number => (error as CulvertError).retryAfter * 1000 || 0

/**
 * The JSON of a successful answer; every other answer is an error. A page with status 200
 * by a proxy, which asks for a password or payment, must not be taken for it.
 */
export async function read(r: Response): Promise<any> {
  const { status } = r
  const after = r.headers.get('retry-after')!
  const retryAfter = Math.min(Math.max(+after || (Date.parse(after) - Date.now()) / 1000 || 0, 0), 300)
  const text = await r.text()
  let body
  try {
    body = JSON.parse(text)
  } catch {}
  const ours = body instanceof Object && (r.ok || r.headers.get('content-type')?.includes('problem+json'))
  if (!ours) throw foreign(status, retryAfter)
  if (r.ok) return body
  throw new CulvertError(body.detail || body.title, { status, type: body.type, field: body.field, retryAfter })
}
