import { isJsonObject, type JsonObject } from './json.ts'
import { findSource, keepSourcesAt } from './json-source.ts'

/** The members that OpenAI has in an embeddings answer, in each of its vectors, and in its usage. Written again, they mean the same. */
const ANSWER = new Set(['object', 'model', 'data', 'usage'])
const VECTOR = new Set(['object', 'index', 'embedding'])
const USAGE = new Set(['prompt_tokens', 'total_tokens'])

/**
 * Prepares an embeddings answer for a change of its vectors by `withMembers`. If the answer has members of the provider's own, it keeps its
 * source text, and so do its vectors and its usage, so that these members stay as written. Otherwise this returns a copy without source
 * text: writing that again means the same and costs less.
 */
export function keepOtherMembers(answer: JsonObject): JsonObject {
  if (findSource(answer) === undefined) return answer
  if (!hasOtherMembers(answer)) return { ...answer }
  if (hasOtherVectors(answer)) keepSourcesAt(answer, ['data', '*'])
  keepSourcesAt(answer, ['usage'])
  return answer
}

/** Whether an answer has members, at any depth, that OpenAI's answer does not have. */
export function hasOtherMembers(answer: JsonObject): boolean {
  return hasOther(answer, ANSWER) || hasOther(answer.usage, USAGE) || hasOtherVectors(answer)
}

function hasOtherVectors({ data }: JsonObject): boolean {
  return Array.isArray(data) && data.some((entry) => hasOther(entry, VECTOR))
}

function hasOther(value: unknown, names: ReadonlySet<string>): boolean {
  return isJsonObject(value) && Object.keys(value).some((name) => !names.has(name))
}
