import { isJsonObject, type JsonObject, type JsonValue } from '../../lib/json.ts'
import { keepSourcesAt, stringifyLine, withMembers } from '../../lib/json-source.ts'
import { isBeginning, isEnd } from '../../providers/response-events.ts'
import {
  describeOpen,
  describeResponse,
  isBackground,
  type ResponseSource,
  showResult,
} from './describe-response.ts'
import { listResponseEvents } from './replay-response.ts'
import type { StreamForm } from './stream.ts'

/**
 * Streams responses: events with their type, numbered from 0 without gaps. Every reader of a job gets the same events with the same
 * numbers, so a client can resume after any number.
 *
 * The event that ends a response is held back until its job has ended: clients disconnect on that event, and a client that then asks for
 * the response must find it finished.
 *
 * @param after events up to this number are counted, but not written
 */
export function createResponseForm(
  source: ResponseSource,
  after = -1,
): StreamForm & { /** What is there before anything is known of the answer. */ open(): string } {
  const inBackground = isBackground(source)
  /** Events that a response has begun. Each is sent once, even if a later attempt repeats it. */
  const told = new Set<unknown>()
  const sizes = new Map<string, number>()
  let count = 0
  let last: JsonObject | null = null
  let hasContent = false

  function write(event: JsonObject): string {
    const number = count++
    if (number <= after) return ''
    keepSourcesAt(event, ['response'])
    const shown = isJsonObject(event.response) ? { response: showResult(source, event.response) } : {}
    return encode(withMembers(event, { sequence_number: number, ...shown }))
  }

  function writeNew(event: JsonObject): string {
    if (isBeginning(event)) {
      if (told.has(event.type)) return ''
      told.add(event.type)
    }
    return write(event)
  }

  function replay(result: JsonObject): string {
    let text = ''
    for (const event of listResponseEvents(result)) text += writeNew(event)
    return text
  }

  return {
    open() {
      if (!inBackground) return ''
      const response = describeOpen(source, 'queued')
      return (
        writeNew({ type: 'response.created', response }) + writeNew({ type: 'response.queued', response })
      )
    },
    chunk(chunk) {
      if (!isJsonObject(chunk)) return ''
      last = isEnd(chunk) ? chunk : null
      if (last !== null) return ''
      hasContent ||= !isBeginning(chunk)
      if (chunk.type === 'response.output_text.delta' && typeof chunk.delta === 'string') {
        const place = `${chunk.output_index} ${chunk.content_index}`
        sizes.set(place, (sizes.get(place) ?? 0) + chunk.delta.length)
      }
      return writeNew(chunk)
    },
    end(result) {
      if (!hasContent) return replay(result)
      return last !== null && isWhole(sizes, result) ? write(last) : null
    },
    replay,
    error(error, step) {
      let text = ''
      if (last?.type === 'response.failed') text = write(last)
      else if (inBackground && step?.kind === 'ended' && step.job.status === 'failed') {
        text = write({ type: 'response.failed', response: describeResponse({ ...source, job: step.job }) })
      }
      // If only this stream stops, the error uses no number: a client that resumes misses nothing.
      const number = step === null ? count - 1 : count++
      if (step !== null && number <= after) return text
      const { code = null, message = null, param = null } = error
      // Flat as OpenAI documents it, and below `error` as OpenAI sends it: clients read either.
      return text + encode({ type: 'error', sequence_number: number, code, message, param, error })
    },
  }
}

/** Whether the text pieces sent add up to the texts of the response. */
function isWhole(sizes: ReadonlyMap<string, number>, response: JsonObject): boolean {
  for (const [place, size] of sizes) {
    const [item, part] = place.split(' ').map(Number)
    const output: JsonValue | undefined = Array.isArray(response.output) ? response.output[item!] : undefined
    const content = isJsonObject(output) && Array.isArray(output.content) ? output.content[part!] : undefined
    if (isJsonObject(content) && typeof content.text === 'string' && content.text.length !== size)
      return false
  }
  return true
}

function encode(event: JsonObject): string {
  const name = typeof event.type === 'string' && !/[\r\n]/.test(event.type) ? `event: ${event.type}\n` : ''
  return `${name}data: ${stringifyLine(event)}\n\n`
}
