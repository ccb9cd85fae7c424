import { isJsonObject, type JsonObject } from './json.ts'
import { findSource, keepSourcesAt } from './json-source.ts'

/** Members that an embeddings answer, each of its vectors, and its usage have at OpenAI: written anew, they say the same. */
const ANSWER = new Set(['object', 'model', 'data', 'usage'])
const VECTOR = new Set(['object', 'index', 'embedding'])
const USAGE = new Set(['prompt_tokens', 'total_tokens'])

/**
 * Readies an embeddings answer for a change of its vectors by `withMembers`. Where it has members of the provider's own, it
 * keeps its text, and its vectors and its usage get theirs, so that these members stay as they were written. Else it is a
 * copy without a text: to write it anew says the same, and costs less.
 */
export function keepOtherMembers(answer: JsonObject): JsonObject {
  if (findSource(answer) === undefined) return answer
  if (!hasOtherMembers(answer)) return { ...answer }
  if (hasOtherVectors(answer)) keepSourcesAt(answer, ['data', '*'])
  keepSourcesAt(answer, ['usage'])
  return answer
}

/** Whether an answer has members, anywhere, that OpenAI's has not. */
export function hasOtherMembers(answer: JsonObject): boolean {
  return hasOther(answer, ANSWER) || hasOther(answer.usage, USAGE) || hasOtherVectors(answer)
}

function hasOtherVectors({ data }: JsonObject): boolean {
  return Array.isArray(data) && data.some((entry) => hasOther(entry, VECTOR))
}

function hasOther(value: unknown, names: ReadonlySet<string>): boolean {
  return isJsonObject(value) && Object.keys(value).some((name) => !names.has(name))
}
