import { hash } from 'node:crypto'
import type { JsonValue } from '../lib/json.ts'

/** What Anthropic takes: "String should match pattern '^[a-zA-Z0-9_-]+$'". */
const VALID = /^[a-zA-Z0-9_-]+$/

/** Of an id that has to be changed, no more than its beginning is kept. */
const KEPT = 1000

/** Ids of one conversation's tool calls, as Anthropic takes them. A call and its result keep meeting by their id. */
export type ToolIds = {
  ofCall(id: JsonValue | undefined): string
  ofResult(id: JsonValue | undefined): string
}

/**
 * Other characters are replaced, and a part of the id's hash keeps two ids apart that would become one. Calls without an
 * id get one by their place; results without an id belong to those calls in their order.
 */
export function createToolIds(): ToolIds {
  const unnamed: string[] = []
  let calls = 0

  function toValid(id: string): string {
    if (VALID.test(id)) return id
    return `${id.slice(0, KEPT).replaceAll(/[^a-zA-Z0-9_-]/g, '_')}_${hash('sha256', id).slice(0, 8)}`
  }

  return {
    ofCall(id) {
      calls++
      if (typeof id === 'string' && id !== '') return toValid(id)
      const made = `call_${calls}`
      unnamed.push(made)
      return made
    },
    ofResult(id) {
      if (typeof id === 'string' && id !== '') return toValid(id)
      return unnamed.shift() ?? `call_${calls}`
    },
  }
}
