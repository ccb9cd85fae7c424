import { hash } from 'node:crypto'
import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'

/** Prefixes are cached from 1,024 tokens on, in steps of 128 (OpenAI, "Prompt caching"), and dropped five minutes after their last use. */
const LEAST_TOKENS = 1024
const STEP_TOKENS = 128
const CHARACTERS_PER_TOKEN = 4
const KEPT_MS = 5 * 60_000
const MOST_STEPS = 200_000

/** A provider's prompt cache. A prefix is cached once the first call with it has begun to answer. */
export function createPromptCache() {
  const steps = new Map<string, { from: number; usedAt: number }>()

  return {
    /**
     * Returns how many tokens of the prompt a call reads from the cache, and caches the prompt for later calls.
     *
     * @param answersAt when the call begins to answer, Unix ms like `now`
     */
    read(model: string, body: JsonObject, now: number, answersAt: number): number {
      const prompt = textOf([body.tools, body.system, body.instructions, body.messages ?? body.input])
      const size = STEP_TOKENS * CHARACTERS_PER_TOKEN
      if (prompt.length < LEAST_TOKENS * CHARACTERS_PER_TOKEN) return 0
      let digest = model
      let cached = 0
      let isWhole = true
      for (let at = 0; at + size <= prompt.length; at += size) {
        digest = hash('sha256', digest + prompt.slice(at, at + size), 'base64url')
        const known = steps.get(digest)
        const isThere = known !== undefined && known.from <= now && now - known.usedAt < KEPT_MS
        isWhole &&= isThere
        if (isWhole) cached += STEP_TOKENS
        const from = isThere ? known.from : Math.min(known?.from ?? Number.POSITIVE_INFINITY, answersAt)
        steps.delete(digest)
        steps.set(digest, { from, usedAt: now })
      }
      while (steps.size > MOST_STEPS) steps.delete(steps.keys().next().value!)
      return cached < LEAST_TOKENS ? 0 : cached
    },
  }
}

function textOf(value: JsonValue | (JsonValue | undefined)[] | undefined): string {
  if (typeof value === 'string') return value
  if (Array.isArray(value)) return value.map(textOf).join('\n')
  return isJsonObject(value) ? Object.values(value).map(textOf).join('\n') : ''
}
