import {
  createJsonScanner,
  describeJsonExcess,
  type JsonBounds,
  type JsonExcess,
  type JsonScanner,
} from '../lib/scan-json.ts'
import { ApiError } from './errors.ts'

/**
 * Bounds on the structure of a body. The size of its values does not count. OpenAI's maximum for an embedding request, 300,000 tokens, are as
 * many values; a conversation of 10,000 messages has 20,000 names; a JSON text of 15 MB inside a string has 3 million escapes. At these
 * bounds each step of accepting a body takes at most 100 ms.
 */
export const bodyBounds: JsonBounds = {
  depth: 64,
  values: 500_000,
  names: 100_000,
  distinctNames: 100_000,
  escapes: 3_000_000,
}

/** Shorter texts, in bytes, can exceed only the bound on depth. Their parser checks that one and names the path. */
const scanFromBytes = 64 * 1024

/** Creates a scanner with the bounds of a body, for bodies that may be long. */
export function createBodyScanner(): JsonScanner {
  const scanner = createJsonScanner(bodyBounds)
  let waiting: Uint8Array[] = []
  let size = 0
  return {
    push(bytes) {
      size += bytes.length
      if (size <= scanFromBytes) {
        waiting.push(bytes)
        return null
      }
      for (const earlier of waiting) scanner.push(earlier)
      waiting = []
      return scanner.push(bytes)
    },
  }
}

/** 400 for nesting, which is about form, and 413 for amounts. `root` names the value that exceeds a bound. */
export function refuseExcess(excess: JsonExcess, root: string): ApiError {
  const code = excess.bound === 'depth' ? 'invalid_request' : 'payload_too_large'
  return new ApiError(code, `${root}: ${describeJsonExcess(excess)}`, { param: root })
}
