import { hash } from 'node:crypto'
import type { JsonValue } from '../lib/json.ts'

/** Anthropic: "String should match pattern '^[a-zA-Z0-9_-]+$'". */
const VALID = /^[a-zA-Z0-9_-]+$/

/** Of an id that has to change, only this many characters are kept. */
const KEPT = 1000

/** Converts the ids of one conversation's tool calls to ids that Anthropic accepts. A call and its result keep the same id. */
export type ToolIds = {
  ofCall(id: JsonValue | undefined): string
  ofResult(id: JsonValue | undefined): string
}

/**
 * Replaces invalid characters and appends part of the id's hash, so that two ids stay different. A call without an id gets one by its
 * position. Results without an id belong to those calls, in order.
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
