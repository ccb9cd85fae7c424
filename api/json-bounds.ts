import {
  createJsonScanner,
  describeJsonExcess,
  type JsonBounds,
  type JsonExcess,
  type JsonScanner,
} from '../lib/scan-json.ts'
import { ApiError } from './errors.ts'

/**
 * What a body may hold, however small its values are. 300,000 tokens of an embedding request, the most that OpenAI takes, are
 * values; a conversation of 10,000 messages has 20,000 names; a JSON text of 15 MB within a string has 3 million escapes. At the bounds every step of taking a body in ends within 100 ms.
 */
export const bodyBounds: JsonBounds = {
  depth: 64,
  values: 500_000,
  names: 100_000,
  distinctNames: 100_000,
  escapes: 3_000_000,
}

/** Shorter texts, in bytes, pass no bound but that of depth, which their parser checks, and says where. */
const scanFromBytes = 64 * 1024

/** A scanner with the bounds of a body, for bodies that may be long. */
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

/** 400 for nesting, which is a matter of form, and 413 for amounts. `root` names what has too much. */
export function refuseExcess(excess: JsonExcess, root: string): ApiError {
  const code = excess.bound === 'depth' ? 'invalid_request' : 'payload_too_large'
  return new ApiError(code, `${root}: ${describeJsonExcess(excess)}`, { param: root })
}
