import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'
import { isGiven, isTextMember } from './text-members.ts'

/** Identifying members: the first value stays. */
const NAMES = new Set(['id', 'role', 'type', 'name', 'format'])

/** Objects below this depth are replaced, not merged. */
const MAX_DEPTH = 32

/** For each list: its entries by index, and the entries without an index, as text. */
const listMarks = new WeakMap<JsonValue[], { places: Map<string, JsonObject>; seen: Set<string> }>()

/**
 * Merges a delta into the known value by what each member means: text is appended, a name stays once it is given, list entries are matched
 * by `index`, objects are merged, and for everything else the last value counts. Null, an empty string and zero replace nothing. Takes time
 * linear in the delta.
 */
export function mergeMembers(target: JsonObject, delta: JsonObject, depth = 0): void {
  for (const key of Object.keys(delta)) mergeMember(target, key, delta[key], depth)
}

export function mergeMember(target: JsonObject, key: string, value: JsonValue | undefined, depth = 0): void {
  if (value === undefined) return
  // Member names come from the provider: inherited members (`valueOf`) do not count as known.
  const known = Object.hasOwn(target, key) ? target[key] : undefined
  if (known === undefined || known === null) put(target, key, depth < MAX_DEPTH ? adopt(value, depth) : value)
  else if (typeof value === 'string' && typeof known === 'string' && isTextMember(key))
    put(target, key, known + value)
  else if (!isGiven(value) && isGiven(known)) return
  else if (NAMES.has(key) && isGiven(known)) return
  else if (Array.isArray(value) && Array.isArray(known)) mergeEntries(known, value, depth)
  else if (isJsonObject(value) && isJsonObject(known) && depth < MAX_DEPTH)
    mergeMembers(known, value, depth + 1)
  else put(target, key, depth < MAX_DEPTH ? adopt(value, depth) : value)
}

/** Sets a member of any name. Assigning to `__proto__` would replace the object's prototype. */
function put(target: JsonObject, key: string, value: JsonValue): void {
  if (key !== '__proto__') target[key] = value
  else Object.defineProperty(target, key, { value, enumerable: true, configurable: true, writable: true })
}

/** Copies a value that later deltas are merged into, so that the chunk it came in does not change. */
function adopt(value: JsonValue, depth: number): JsonValue {
  if (Array.isArray(value)) {
    const list: JsonValue[] = []
    mergeEntries(list, value, depth)
    return list
  }
  if (!isJsonObject(value)) return value
  const copy: JsonObject = {}
  mergeMembers(copy, value, depth + 1)
  return copy
}

/**
 * Entries of several deltas with the same `index` (and `type`) are pieces of one entry. An entry without an index is whole, and a later
 * delta that repeats it adds nothing. Text of the same `type` as the entry before continues that entry. Within one delta, equal entries are
 * separate entries.
 */
function mergeEntries(known: JsonValue[], items: JsonValue[], depth: number): void {
  let marks = listMarks.get(known)
  if (!marks) {
    marks = { places: new Map(), seen: new Set() }
    listMarks.set(known, marks)
  }
  const { places, seen } = marks
  const last = known.at(-1)
  const added: (() => void)[] = []
  for (const [position, item] of items.entries()) {
    if (!isJsonObject(item)) {
      known.push(item)
      continue
    }
    const place = typeof item.index === 'number' ? `${item.index} ${String(item.type ?? '')}` : null
    const piece = place === null ? undefined : places.get(place)
    if (piece) {
      mergeMembers(piece, item, depth + 1)
      continue
    }
    if (position === 0 && isJsonObject(last) && isMoreOf(last, item)) {
      mergeMembers(last, item, depth + 1)
      continue
    }
    const text = place === null ? JSON.stringify(item) : ''
    if (place === null && seen.has(text)) continue
    const copy = adopt(item, depth) as JsonObject
    added.push(place === null ? () => seen.add(text) : () => places.set(place, copy))
    known.push(copy)
  }
  for (const mark of added) mark()
}

/** Whether an entry continues the text of the one before: the same type, and no other members than type and text. */
function isMoreOf(last: JsonObject, item: JsonObject): boolean {
  if (typeof item.type !== 'string' || item.type !== last.type || last.index !== undefined) return false
  let hasText = false
  for (const key of Object.keys(item)) {
    if (key === 'type') continue
    if (key === 'id' || key === 'format') {
      if (isGiven(item[key]) && isGiven(last[key]) && item[key] !== last[key]) return false
      continue
    }
    if (typeof item[key] !== 'string' || !isTextMember(key) || typeof last[key] !== 'string') return false
    hasText = true
  }
  return hasText
}
