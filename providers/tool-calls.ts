import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'
import { mergeMember, mergeMembers } from './merge-members.ts'
import { isGiven } from './text-members.ts'

/** The tool calls of one message, assembled from pieces. */
export type ToolCalls = {
  /**
   * Adds pieces of calls and returns them in OpenAI's form: `index` counts the calls from 0, and `id`, `type` and name come only with the
   * first piece of a call. Returns the list itself where it already has that form.
   */
  add(items: JsonValue[]): JsonValue[]
  build(): JsonObject[]
}

type ToolCall = { place: number; members: JsonObject; tool: JsonObject | null; nesting: Nesting }

/** How far the JSON of a call's arguments has come. Each character is looked at once, so the cost is linear. `isWhole`: its object ended. */
export type Nesting = { depth: number; inString: boolean; isEscaped: boolean; isWhole: boolean }

/**
 * Assigns pieces to calls. A piece with a new id begins a call, at any index. A piece with a known id belongs to that call. A piece without
 * an id belongs to the latest call of its index, or without an index to the latest of all. A name begins a new call if the current call has
 * another name or complete arguments: some servers send no ids.
 */
export function createToolCalls(): ToolCalls {
  const calls: ToolCall[] = []
  const byIndex = new Map<number, ToolCall>()
  const byId = new Map<string, ToolCall>()

  function find(item: JsonObject, position: number | null): ToolCall | undefined {
    const index = typeof item.index === 'number' ? item.index : position
    const atIndex = index === null ? calls.at(-1) : byIndex.get(index)
    const { id } = item
    if (typeof id === 'string' && id !== '') {
      const known = byId.get(id)
      // Two calls with the same id, each with its own name and index, are two calls.
      const isSure = known === atIndex || index === null || nameOf(item) === null
      if (known) return isSure || isRepeated(known, item) ? known : undefined
      // The id of a call may come after its name.
      return atIndex && !isGiven(atIndex.members.id) && !isAnother(atIndex, item) ? atIndex : undefined
    }
    if (atIndex) return isAnother(atIndex, item) ? undefined : atIndex
    return nameOf(item) === null ? calls.at(-1) : undefined
  }

  function open(): ToolCall {
    const call: ToolCall = { place: calls.length, members: {}, tool: null, nesting: createNesting() }
    calls.push(call)
    return call
  }

  function addItem(item: JsonObject, position: number | null): JsonObject | null {
    const found = find(item, position)
    if (found && isRepeated(found, item)) return null
    const call = found ?? open()
    const index = typeof item.index === 'number' ? item.index : position
    if (index !== null) byIndex.set(index, call)
    if (typeof item.id === 'string' && item.id !== '' && !byId.has(item.id)) byId.set(item.id, call)
    return addPiece(call, item, found === undefined)
  }

  return {
    add(items) {
      let isAsItIs = true
      const shown: JsonValue[] = []
      for (const [position, item] of items.entries()) {
        if (!isJsonObject(item)) {
          isAsItIs = false
          continue
        }
        const piece = addItem(item, items.length > 1 ? position : null)
        if (piece !== item) isAsItIs = false
        if (piece !== null) shown.push(piece)
      }
      return isAsItIs ? items : shown
    },
    build: () => calls.map(({ members, tool }) => (tool ? close(members, tool) : members)),
  }
}

/** Merges a piece into its call. Returns what is new; the piece itself where all of it is. */
function addPiece(call: ToolCall, item: JsonObject, isFirst: boolean): JsonObject {
  const { index: _index, function: called, custom, ...rest } = item
  const kind = isJsonObject(custom) ? 'custom' : 'function'
  const given = isJsonObject(custom) ? custom : isJsonObject(called) ? called : null
  const shown: JsonObject = { index: call.place }
  for (const key of Object.keys(rest)) {
    const isNew = isFirst || !isGiven(call.members[key])
    mergeMember(call.members, key, rest[key])
    const isName = key === 'id' || key === 'type'
    if (isName ? isNew && isGiven(rest[key]) : rest[key] !== undefined) shown[key] = rest[key]
  }
  if (isFirst && !isGiven(call.members.type) && given !== null) {
    call.members.type = kind
    shown.type = kind
  }
  if (given !== null) {
    call.tool ??= {}
    call.members[kind] ??= call.tool
    const field = kind === 'custom' ? 'input' : 'arguments'
    const piece = showTool(isFirst ? null : call.tool, given, field)
    mergeMembers(call.tool, piece)
    if (typeof piece.arguments === 'string') follow(call.nesting, piece.arguments)
    shown[kind] = piece
  }
  return isSame(item, shown) ? item : shown
}

/** The new parts of a function: its name once, its arguments as text. */
function showTool(known: JsonObject | null, given: JsonObject, field: string): JsonObject {
  const piece: JsonObject = {}
  for (const key of Object.keys(given)) {
    const value = given[key]
    const isTold = key === 'name' && known !== null && (!isGiven(value) || isGiven(known.name))
    if (isTold) continue
    if (key !== field) piece[key] = value
    else if (value !== null && value !== undefined) {
      piece[field] = typeof value === 'string' ? value : JSON.stringify(value)
    }
  }
  return piece
}

function close(members: JsonObject, tool: JsonObject): JsonObject {
  const kind = members.custom === tool ? 'custom' : 'function'
  const field = kind === 'custom' ? 'input' : 'arguments'
  return typeof tool[field] === 'string' ? members : { ...members, [kind]: { ...tool, [field]: '' } }
}

/** The name in a piece; null where it has none. */
function nameOf(item: JsonObject): string | null {
  const tool = isJsonObject(item.custom) ? item.custom : item.function
  return isJsonObject(tool) && typeof tool.name === 'string' ? tool.name : null
}

/** Whether a piece without a new id belongs to another call than the current one of its index. */
function isAnother(call: ToolCall, item: JsonObject): boolean {
  const name = nameOf(item)
  const known = call.tool?.name
  if (!isGiven(name) || !isGiven(known)) return false
  if (name !== known) return true
  return call.nesting.isWhole && isJsonObject(item.function) && isGiven(item.function.arguments)
}

/** Whether a piece repeats a whole call, as some servers do in the last chunk. */
function isRepeated(call: ToolCall, item: JsonObject): boolean {
  if (!isGiven(item.id) || item.id !== call.members.id || nameOf(item) !== call.tool?.name) return false
  const text = isJsonObject(item.function) ? item.function.arguments : undefined
  return call.nesting.isWhole && typeof text === 'string' && text === call.tool?.arguments
}

export function createNesting(): Nesting {
  return { depth: 0, inString: false, isEscaped: false, isWhole: false }
}

/** Tracks the arguments to the end of their object. Blanks after it change nothing. */
export function follow(nesting: Nesting, text: string): void {
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at)
    if (nesting.isEscaped) nesting.isEscaped = false
    else if (nesting.inString) {
      if (code === 92) nesting.isEscaped = true
      else if (code === 34) nesting.inString = false
    } else if (code === 34) nesting.inString = true
    else if (code === 123 || code === 91) {
      nesting.depth += 1
      nesting.isWhole = false
    } else if (code === 125 || code === 93) {
      nesting.depth -= 1
      nesting.isWhole = nesting.depth === 0
    }
  }
}

/** Whether two pieces have the same members with the same values, in any order. */
function isSame(left: JsonObject, right: JsonObject): boolean {
  const names = Object.keys(left)
  if (names.length !== Object.keys(right).length) return false
  return names.every((name) => {
    const [one, other] = [left[name], right[name]]
    if (one === other) return true
    return (name === 'function' || name === 'custom') && isJsonObject(one) && isJsonObject(other)
      ? isSame(one, other)
      : false
  })
}
