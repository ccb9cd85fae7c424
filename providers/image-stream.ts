import type { JsonObject, JsonValue } from '../lib/json.ts'
import { type AnswerOutcome, invalidAnswer, truncatedStream } from './classify.ts'
import { countImages } from './endpoints.ts'
import { judgeBody } from './judge-answer.ts'
import type { ProviderRequest } from './provider.ts'
import { type StreamReader, sortEvent } from './streaming.ts'

/**
 * Reads a stream of images (OpenAI, "Image streaming events"). Partial images are passed on. The completed ones are assembled into the
 * answer that a call without streaming would return.
 */
export function createImageReader(
  { type, body }: Pick<ProviderRequest, 'type' | 'body'>,
  onDelta: (chunk: JsonValue) => void,
): StreamReader {
  const wanted = countImages(type, body)
  const completed: JsonObject[] = []
  let begun = false
  let isStrange = false

  function finish(): AnswerOutcome | null {
    const [first] = completed
    if (first === undefined) {
      return isStrange ? { ok: false, verdict: invalidAnswer('the stream held no event of a picture') } : null
    }
    const { type: _type, b64_json: _picture, created_at: created, usage, ...members } = first
    const data = completed.map(({ b64_json: picture }) => ({ b64_json: picture }))
    const last = completed.at(-1)!.usage ?? usage
    return judgeBody(type, { created, ...members, data, ...(last === undefined ? {} : { usage: last }) })
  }

  return {
    finish,
    take(text, name) {
      const event = sortEvent(type, text, name, begun)
      if (event.kind === 'failed') return event.outcome
      if (event.kind === 'done') return finish() ?? { ok: false, verdict: truncatedStream() }
      if (event.kind === 'nothing') {
        isStrange ||= event.isStrange
        return null
      }
      const { part } = event
      const kind = typeof part.type === 'string' ? part.type : (name ?? '')
      if (kind.endsWith('.partial_image')) {
        begun = true
        onDelta({ ...part, type: kind })
      } else if (kind.endsWith('.completed')) {
        begun = true
        completed.push(part)
        if (completed.length >= wanted) return finish()
      } else isStrange = true
      return null
    },
  }
}
