import { createJsonScanner, describeJsonExcess, type JsonBounds, type JsonScanner } from '../lib/scan-json.ts'

/**
 * What an answer, or an event of one, may hold. 2,048 vectors of 1,536 numbers are 3.1 million values; 15,000 tokens with their
 * 20 likeliest alternatives have a million names, few of them different. At the bounds `JSON.parse` takes 200 ms. A value that
 * is nested some thousand levels deep cannot be written out again.
 */
const answerBounds: JsonBounds = {
  depth: 256,
  values: 3_500_000,
  names: 1_000_000,
  distinctNames: 50_000,
  escapes: 3_000_000,
}

/** Thrown when an answer exceeds the cap on bytes or one of the bounds; the rest of it is not read. */
export class AnswerTooLargeError extends Error {}

/** Looks at an answer as it comes; its `push` throws AnswerTooLargeError. */
export function createAnswerScanner(): JsonScanner {
  const scanner = createJsonScanner(answerBounds)
  return {
    push(bytes) {
      const excess = scanner.push(bytes)
      if (excess !== null) throw new AnswerTooLargeError(`the answer ${describeJsonExcess(excess)}`)
      return null
    },
  }
}
