import { randomUUID } from 'node:crypto'
import type { JsonObject } from './json.ts'
import { editMembers, listElements, listMembers, skipValue, toOneLine } from './json-text.ts'

/**
 * Objects with their source: the text that they were parsed from. A parsed value has lost what a double, or JavaScript's order of members,
 * cannot represent, so code that writes the value uses its source. A source belongs to one object: a changed copy has none and is
 * serialized. Objects with a source are frozen at the top level, so that both stay the same.
 */
const SOURCE = Symbol('source')

type WithSource = { readonly [SOURCE]?: string }

/** Attaches the text that an object was parsed from. */
export function keepSource<Value extends object>(value: Value, text: string): Value {
  // Neither enumerated nor copied with the members. A WeakMap would do the same but slow down every garbage collection.
  if (findSource(value) === undefined) Object.defineProperty(value, SOURCE, { value: text })
  return Object.freeze(value)
}

/** The text that an object was parsed from; undefined for an object that was created here. */
export function findSource(value: object): string | undefined {
  return (value as WithSource)[SOURCE]
}

/** Sources of at least this length, in characters, take some 10 ms to scan or to compress. */
const LARGE_SOURCE = 1024 * 1024

/** Whether code that scans an object or its source needs its own turn of the event loop (breathe.ts). */
export function hasLargeSource(value: object): boolean {
  return (findSource(value)?.length ?? 0) >= LARGE_SOURCE
}

/** The text of an object: its source, or else its serialization. */
export function sourceOf(value: JsonObject): string {
  return findSource(value) ?? stringifyJson(value)
}

/** Parses the text of an object and attaches it. Throws what `JSON.parse` throws. */
export function parseWithSource(text: string): JsonObject {
  return keepSource(JSON.parse(text) as JsonObject, text)
}

/**
 * Attaches their own sources to objects inside an object with a source, so that they can be taken out of it. `path` lists names of members;
 * `*` is every element of an array.
 */
export function keepSourcesAt(root: object, path: readonly string[]): void {
  const text = findSource(root)
  if (text !== undefined) descend(root, text, 0, path)
}

/** @param end where the value ends, if known; this saves another scan of a large value */
function descend(value: unknown, text: string, start: number, path: readonly string[], end?: number): void {
  if (typeof value !== 'object' || value === null) return
  const [step, ...rest] = path
  if (step === undefined) {
    keepSource(value, text.slice(start, end ?? skipValue(text, start)))
  } else if (Array.isArray(value)) {
    if (step !== '*') return
    for (const [index, element] of listElements(text, start).entries()) {
      descend(value[index], text, element.start, rest, element.end)
    }
  } else if (Object.hasOwn(value, step)) {
    const member = listMembers(text, start).findLast(({ name }) => name === step)
    if (member) descend((value as JsonObject)[step], text, member.valueStart, rest, member.valueEnd)
  }
}

/** A copy with members changed or, if undefined, removed. Its source, if it has one, changes with it. */
export function withMembers(value: JsonObject, changes: JsonObject): JsonObject {
  const changed: JsonObject = { ...value, ...changes }
  const source = findSource(value)
  const edits: Record<string, string | null> = {}
  for (const [name, member] of Object.entries(changes)) {
    if (member === undefined) delete changed[name]
    if (source !== undefined) edits[name] = member === undefined ? null : stringifyJson(member)
  }
  return source === undefined ? changed : keepSource(changed, editMembers(source, edits))
}

/** Replaces a source while the rest is serialized. Nobody can guess it, so no client can write it. */
const MARK = `source:${randomUUID()}:`

/** `JSON.stringify` that writes the source of objects that have one. */
export function stringifyJson(value: unknown): string {
  const whole = typeof value === 'object' && value !== null ? findSource(value) : undefined
  if (whole !== undefined) return whole
  let found: string[] | null = null
  const text = JSON.stringify(value, (_name, member: unknown) => {
    if (typeof member !== 'object' || member === null) return member
    const source = findSource(member)
    if (source === undefined) return member
    found ??= []
    found.push(source)
    return MARK + (found.length - 1)
  })
  return found === null ? text : embed(text, found)
}

/** The same without line breaks, for an event of a stream or a line of a file. */
export function stringifyLine(value: unknown): string {
  return toOneLine(stringifyJson(value))
}

function embed(text: string, found: readonly string[]): string {
  let whole = ''
  let from = 0
  for (const source of found) {
    const at = text.indexOf(MARK, from) - 1
    whole += text.slice(from, at) + source
    from = text.indexOf('"', at + 1) + 1
  }
  return whole + text.slice(from)
}
