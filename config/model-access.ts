import type { Lane } from './lanes.ts'

/**
 * Which models may be called: lists of patterns, each of which must allow a lane. A pattern is a lane, an alias, or contains `*` for any
 * characters: `openai/*`. Without a list, every model may be called.
 */
export type ModelAccess = readonly (readonly string[])[]

/** Whether every list allows a name. */
export function mayCall(access: ModelAccess | undefined, model: string): boolean {
  return (access ?? []).every((patterns) => matchesAny(patterns, model))
}

/**
 * The lanes that may serve a client's `model`, in order. A list that allows the alias itself allows all its lanes; otherwise only those
 * that it names.
 */
export function permittedLanes(
  access: ModelAccess | undefined,
  model: string,
  lanes: readonly Lane[],
): Lane[] {
  const lists = (access ?? []).filter((patterns) => !matchesAny(patterns, model))
  return lanes.filter(({ id }) => mayCall(lists, id))
}

function matchesAny(patterns: readonly string[], name: string): boolean {
  return patterns.some((pattern) => matches(pattern, name))
}

/** Searches part by part, so that matching takes at most the product of both lengths. */
function matches(pattern: string, name: string): boolean {
  const parts = pattern.split('*')
  const [first, last] = [parts[0]!, parts.at(-1)!]
  if (parts.length === 1) return pattern === name
  if (name.length < first.length + last.length || !name.startsWith(first) || !name.endsWith(last))
    return false
  let at = first.length
  const end = name.length - last.length
  for (const part of parts.slice(1, -1)) {
    const found = name.indexOf(part, at)
    if (found < 0 || found + part.length > end) return false
    at = found + part.length
  }
  return true
}
