import { isJsonObject, type JsonObject } from '../../lib/json.ts'

/** Maps every piece of a tool call in the deltas of a stream; `nth` counts the pieces of one call from 0. */
export function mapCalls(
  chunks: JsonObject[],
  change: (call: JsonObject, nth: number) => JsonObject,
): JsonObject[] {
  const pieces = new Map<string, number>()
  return mapChoices(chunks, (choice) => {
    const delta = isJsonObject(choice.delta) ? choice.delta : {}
    if (!Array.isArray(delta.tool_calls)) return choice
    const calls = delta.tool_calls.filter(isJsonObject).map((call) => {
      const key = `${choice.index} ${call.index}`
      const nth = pieces.get(key) ?? 0
      pieces.set(key, nth + 1)
      return change(call, nth)
    })
    return { ...choice, delta: { ...delta, tool_calls: calls } }
  })
}

/** Maps every choice of every chunk. */
export function mapChoices(chunks: JsonObject[], change: (choice: JsonObject) => JsonObject): JsonObject[] {
  return chunks.map((chunk) =>
    Array.isArray(chunk.choices)
      ? { ...chunk, choices: chunk.choices.filter(isJsonObject).map(change) }
      : chunk,
  )
}

/** Maps every delta of every chunk; `change` also gets the choice. */
export function mapDelta(
  chunks: JsonObject[],
  change: (delta: JsonObject, choice: JsonObject) => JsonObject,
): JsonObject[] {
  return mapChoices(chunks, (choice) =>
    isJsonObject(choice.delta) ? { ...choice, delta: change(choice.delta, choice) } : choice,
  )
}

/** Copies an object without the named members. */
export function without(value: JsonObject, ...names: string[]): JsonObject {
  return Object.fromEntries(Object.entries(value).filter(([name]) => !names.includes(name)))
}

/** Joins the pieces of each call into the first one, like servers that do not stream the arguments of calls. */
export function joinCalls(chunks: JsonObject[]): JsonObject[] {
  const whole = new Map<string, JsonObject>()
  const joined = mapDelta(chunks, (delta, choice) => {
    if (!Array.isArray(delta.tool_calls)) return delta
    const opened = delta.tool_calls.filter(isJsonObject).flatMap((call) => {
      const key = `${choice.index} ${call.index}`
      const known = whole.get(key)
      if (!known) {
        const copy = { ...call, function: { ...(call.function as JsonObject) } }
        whole.set(key, copy)
        return [copy]
      }
      const called = known.function as JsonObject
      called.arguments = `${called.arguments ?? ''}${(call.function as JsonObject).arguments ?? ''}`
      return []
    })
    return opened.length > 0 ? { ...delta, tool_calls: opened } : without(delta, 'tool_calls')
  })
  return joined
}

/** True if a choice of a chunk has a finish reason. */
export function isEnd(choice: JsonObject): boolean {
  return typeof choice.finish_reason === 'string'
}
