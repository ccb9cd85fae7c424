import { asksForKnownForm, normalizeInputs } from '../lib/embedding-input.ts'
import type { JsonObject } from '../lib/json.ts'
import type { JobType } from './job.ts'

/** Members of a body that say how its answer is handed over; the answer is the same whatever they say. */
const PRESENTATION: Record<JobType, readonly string[]> = {
  chat: ['stream', 'stream_options'],
  response: ['stream', 'stream_options', 'background'],
  embedding: ['encoding_format'],
}

/** Whether a member of the body only says how the answer is handed over. Not so for vectors that we do not render. */
export function isPresentation(type: JobType, name: string, body: JsonObject): boolean {
  return PRESENTATION[type].includes(name) && (type !== 'embedding' || formatOf(type, body) !== null)
}

/** The body without its wishes about the form, and these by themselves. */
export function splitPresentation(
  type: JobType,
  body: JsonObject,
): { content: JsonObject; presentation: JsonObject } {
  const content = { ...body }
  const presentation: JsonObject = {}
  for (const name of PRESENTATION[type]) {
    const value = content[name]
    if (value === undefined) continue
    presentation[name] = value
    delete content[name]
  }
  return { content, presentation }
}

/**
 * How a job's result is to be rendered: vectors as `base64` or, as OpenAI's default has it, `float`. Null: as it rests, for the
 * provider was asked in the client's own words.
 */
export function formatOf(type: JobType, body: JsonObject): 'base64' | 'float' | null {
  if (type !== 'embedding' || !asksForKnownForm(body) || normalizeInputs(body) === null) return null
  return body.encoding_format === 'base64' ? 'base64' : 'float'
}
