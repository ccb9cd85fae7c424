import { randomUUID } from 'node:crypto'
import type { JsonObject } from './json.ts'
import { editMembers, listElements, listMembers, skipValue, toOneLine } from './json-text.ts'

/**
 * Objects with the text that they were read from. A parsed value has lost what a double, or JavaScript's order of members,
 * cannot hold, so code that writes it uses its source. A source belongs to one object: a changed copy has none, and is
 * written anew. Objects with a source are frozen at their top, so that the two say the same.
 */
const SOURCE = Symbol('source')

type WithSource = { readonly [SOURCE]?: string }

/** Gives an object the text that it was read from. */
export function keepSource<Value extends object>(value: Value, text: string): Value {
  // Neither listed nor copied with the members. A WeakMap would do the same, and delay every garbage collection.
  if (findSource(value) === undefined) Object.defineProperty(value, SOURCE, { value: text })
  return Object.freeze(value)
}

/** The text that an object was read from; undefined for one that was made here. */
export function findSource(value: object): string | undefined {
  return (value as WithSource)[SOURCE]
}

/** Sources from this length on, in characters, take some 10 ms to walk over or to pack. */
const LARGE_SOURCE = 1024 * 1024

/** Whether code that walks over an object, or over its source, needs its own turn of the event loop (breathe.ts). */
export function hasLargeSource(value: object): boolean {
  return (findSource(value)?.length ?? 0) >= LARGE_SOURCE
}

/** The text of an object: as it was read, else as it is. */
export function sourceOf(value: JsonObject): string {
  return findSource(value) ?? stringifyJson(value)
}

/** Parses text of an object, and keeps it. Throws what `JSON.parse` throws. */
export function parseWithSource(text: string): JsonObject {
  return keepSource(JSON.parse(text) as JsonObject, text)
}

/**
 * Gives objects within an object that has a source their own, so that they can be taken out of it. `path` names members, and
 * `*` is every element of a list.
 */
export function keepSourcesAt(root: object, path: readonly string[]): void {
  const text = findSource(root)
  if (text !== undefined) descend(root, text, 0, path)
}

/** @param end where the value ends, where that is known: a large one is not walked over once more */
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

/** The object with members changed or, where they are undefined, taken out; its source, where it has one, is changed with it. */
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

/** Stands for a source while the rest is written; nobody can guess it, so nobody can write it. */
const MARK = `source:${randomUUID()}:`

/** `JSON.stringify` that writes objects with a source as that. */
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
