import { asksForKnownForm, normalizeInputs } from '../lib/embedding-input.ts'
import type { JsonObject } from '../lib/json.ts'
import type { JobType } from './job.ts'

/** Members of a body that only say how, and how soon, its answer is delivered. They do not change the answer. */
const PRESENTATION: Record<JobType, readonly string[]> = {
  chat: ['stream', 'stream_options', 'service_tier'],
  response: ['stream', 'stream_options', 'background', 'service_tier'],
  message: ['stream', 'service_tier'],
  embedding: ['encoding_format'],
  completion: ['stream', 'stream_options'],
  moderation: [],
  rerank: [],
  // The pictures are the same in either form.
  image: ['stream', 'partial_images', 'response_format'],
  image_edit: ['stream', 'partial_images', 'response_format'],
  speech: ['stream_format'],
  transcription: ['stream'],
  translation: ['stream'],
}

/** Whether a member of the body only says how the answer is delivered. False for vectors whose form we do not know. */
export function isPresentation(type: JobType, name: string, body: JsonObject): boolean {
  return PRESENTATION[type].includes(name) && (type !== 'embedding' || formatOf(type, body) !== null)
}

/** The body without the members about the form of its answer, and these members. */
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
 * The form in which to show a job's vectors: `base64` or, by OpenAI's default, `float`. Null: the stored form, because
 * the provider got the client's own request.
 */
export function formatOf(type: JobType, body: JsonObject): 'base64' | 'float' | null {
  if (type !== 'embedding' || !asksForKnownForm(body) || normalizeInputs(body) === null) return null
  return body.encoding_format === 'base64' ? 'base64' : 'float'
}
