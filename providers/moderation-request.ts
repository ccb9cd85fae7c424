import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'
import { withMembers } from '../lib/json-source.ts'
import { countPrompt } from './count-tokens.ts'
import { splitByWeight } from './split-by-weight.ts'

/** The texts of a moderation as a list. Null for images and other shapes, where the number of results is unknown. */
export function listModerationTexts(body: JsonObject): string[] | null {
  const { input } = body
  if (typeof input === 'string') return [input]
  const isTexts = Array.isArray(input) && input.every((one) => typeof one === 'string')
  return isTexts ? (input as string[]) : null
}

/** Builds one request for several moderations: the texts of all, in order. A single moderation stays as its client wrote it. */
export function joinModerations(bodies: readonly JsonObject[]): JsonObject {
  const [first] = bodies
  if (bodies.length === 1) return first!
  return withMembers(first!, { input: bodies.flatMap((body) => listModerationTexts(body) ?? []) })
}

/**
 * Gives each moderation its part of the answer: its own results and its share of the stated usage. The other members are those of the whole
 * answer.
 */
export function splitModerations(answer: JsonObject, bodies: readonly JsonObject[]): JsonObject[] {
  if (bodies.length === 1) return [answer]
  const results = answer.results as JsonValue[]
  const usages = splitUsage(answer.usage, bodies)
  let at = 0
  return bodies.map((body, index) => {
    const from = at
    at += listModerationTexts(body)?.length ?? 0
    const usage = usages === null ? {} : { usage: usages[index]! }
    return withMembers(answer, { results: results.slice(from, at), ...usage })
  })
}

/** Splits counts by the estimated tokens of each request. Other values are copied. */
function splitUsage(usage: JsonValue | undefined, bodies: readonly JsonObject[]): JsonObject[] | null {
  if (!isJsonObject(usage)) return null
  const weights = bodies.map((body) => countPrompt('moderation', body))
  const shares: JsonObject[] = bodies.map(() => ({}))
  for (const [name, count] of Object.entries(usage)) {
    const parts = typeof count === 'number' && count >= 0 ? splitByWeight(Math.floor(count), weights) : null
    for (const [index, share] of shares.entries()) share[name] = parts === null ? count : parts[index]!
  }
  return shares
}
