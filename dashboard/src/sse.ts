import { createParser } from 'eventsource-parser'

export type ServerEvent = { id: string; event: string; data: string }

/**
 * The events of a response's body, those that came together in one array, so that they can be shown in one go. What
 * is no event (comments, the retry hint) comes as an empty array: a sign of life.
 */
export async function* readEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<ServerEvent[]> {
  let ready: ServerEvent[] = []
  let lastId = ''
  const parser = createParser({
    onEvent({ id, event, data }) {
      lastId = id ?? lastId
      ready.push({ id: lastId, event: event ?? 'message', data })
    },
  })
  const reader = body.getReader()
  const decoder = new TextDecoder()
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return
      parser.feed(decoder.decode(value, { stream: true }))
      const events = ready
      ready = []
      yield events
    }
  } finally {
    // Whoever stops reading wants the connection closed; one that broke has nothing to close.
    await reader.cancel().catch(() => undefined)
  }
}
