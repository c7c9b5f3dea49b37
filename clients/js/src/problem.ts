/** What is known of a failure beside its message. */
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
  /** Of the answer; 0 when there was none, or the fault was found before asking. */
  readonly status: number = 0
  /** Such as `/problems/forbidden`, which the server explains. */
  readonly type?: string
  /** What of the request is at fault, such as `events[3].room`. */
  readonly field?: string
  /** Seconds after which the server wants to be asked again. */
  readonly retryAfter: number = 0
  /** The answer is not Culvert's: something on the way made it. */
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
 * Reports whether asking again may help: anything but a refusal by Culvert itself. A
 * token that is not valid yet is refused with a time to wait.
 */
export function temporary(error: unknown): boolean {
  const { status, foreign, retryAfter } = error as CulvertError
  return !status || (status === 401 && retryAfter > 0) || status === 408 || status === 429 || status >= 500 || (!!foreign && status !== 413)
}

/** Milliseconds the server asks to wait after an error. */
export const asked = (error: unknown): number => (error as CulvertError).retryAfter * 1000 || 0

/**
 * The JSON of a successful answer; everything else is an error. A page with status 200
 * by something on the way, which wants a password or payment first, must not pass for it.
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
