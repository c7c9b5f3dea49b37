import { createParser } from 'eventsource-parser'

/** Whether an answer is a stream of events at all. */
export const isStream = (answer: Response): boolean =>
  answer.ok && !!answer.body && !!answer.headers.get('content-type')?.includes('event-stream')

/**
 * Reads a stream of Server-Sent Events to its end. What stands there without its
 * blank line is no frame: the parser never hands it out. A proxy that speaks HTTP/1.0
 * ends a broken stream like a complete one.
 */
export async function readStream(
  answer: Response, frame: (name: string | undefined, data: string, id: string | undefined) => void, retry: (ms: number) => void,
): Promise<void> {
  const parser = createParser({ onEvent: (f) => frame(f.event, f.data, f.id), onRetry: retry })
  const reader = answer.body!.getReader()
  const decoder = new TextDecoder()
  let held = '' // of a line whose end has not come: the parser would scan it again each time
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return
      const text = decoder.decode(value, { stream: true })
      held += text
      if (!text.includes('\n')) continue
      parser.feed(held)
      held = ''
    }
  } finally {
    void reader.cancel().catch(() => {})
  }
}
