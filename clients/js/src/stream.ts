/** The fields of a frame, unchanged. */
export interface Frame { event?: string; data?: string; id?: string; retry?: string }

/** Whether an answer is a stream of events at all. */
export const isStream = (answer: Response): boolean =>
  answer.ok && !!answer.headers.get('content-type')?.includes('event-stream')

/**
 * Reads a stream of Server-Sent Events to its end. A frame without its blank line is ignored,
 * because a proxy that speaks HTTP/1.0 ends a broken stream like a
 * complete one. Culvert ends lines with LF; a CR that a proxy added before
 * it is dropped.
 */
export async function readStream(answer: Response, frame: (f: Frame) => void): Promise<void> {
  const reader = answer.body!.getReader()
  const decoder = new TextDecoder()
  let held = '' // the part of a line whose end has not come yet
  let f: Record<string, string> = {}
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return
      const text = decoder.decode(value, { stream: true })
      held += text
      if (!text.includes('\n')) continue // so that a line is split only once, however many pieces it comes in
      const lines = held.split(/\r?\n/)
      held = lines.pop()!
      for (const line of lines) {
        const [, name, value] = /^([^:]*):? ?(.*)/s.exec(line)!
        if (line) f[name!] = name === 'data' && name in f ? f.data + '\n' + value : value!
        else {
          frame(f)
          f = {}
        }
      }
    }
  } finally {
    void reader.cancel().catch(() => {})
  }
}
