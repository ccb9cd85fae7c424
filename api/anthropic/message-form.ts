import { isJsonObject, type JsonObject, type JsonValue } from '../../lib/json.ts'
import { stringifyLine } from '../../lib/json-source.ts'
import type { StreamForm } from '../openai/stream.ts'
import { shapeError } from './errors.ts'
import { listMessageEvents } from './replay-message.ts'

/**
 * Streams messages: each event has its type as its name. The event that ends a message is held back until the job has ended, so that a
 * client that asks again then finds the answer in the cache.
 */
export function createMessageForm(requestId: string): StreamForm {
  /** Characters of text sent so far. */
  let sent = 0
  let hasStopReason = false
  let last: JsonObject | null = null

  return {
    chunk(event) {
      if (!isJsonObject(event)) return ''
      if (event.type === 'message_stop') {
        last = event
        return ''
      }
      if (event.type === 'message_delta') hasStopReason = true
      for (const piece of [event.delta, event.content_block])
        if (isJsonObject(piece) && isText(piece.type) && typeof piece.text === 'string')
          sent += piece.text.length
      return write(event)
    },
    end: (result) =>
      hasStopReason && sent === countText(result.content) ? write(last ?? { type: 'message_stop' }) : null,
    replay: (result) => [...listMessageEvents(result)].map(write).join(''),
    error: (error) => write(shapeError({ status: 500, error }, requestId)),
  }
}

/** A block of text may come with its first words. */
function isText(type: JsonValue | undefined): boolean {
  return type === 'text' || type === 'text_delta'
}

/** Characters of a message's text. If fewer were sent, some were lost. */
function countText(content: JsonValue | undefined): number {
  if (!Array.isArray(content)) return 0
  const texts = content.map((block) => (isJsonObject(block) && block.type === 'text' ? block.text : ''))
  return texts.reduce<number>((sum, text) => sum + (typeof text === 'string' ? text.length : 0), 0)
}

function write(event: JsonObject): string {
  return `event: ${String(event.type)}\ndata: ${stringifyLine(event)}\n\n`
}
