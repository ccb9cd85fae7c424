import { createJsonScanner, describeJsonExcess, type JsonBounds, type JsonScanner } from '../lib/scan-json.ts'

/**
 * Bounds on one answer, or on one event of a stream. 2,048 vectors of 1,536 numbers are 3.1 million values; 15,000 tokens with 20
 * `top_logprobs` each have a million names, few of them distinct. At these bounds `JSON.parse` takes 200 ms. A value nested some thousand
 * levels deep could not be serialized again.
 */
const answerBounds: JsonBounds = {
  depth: 256,
  values: 3_500_000,
  names: 1_000_000,
  distinctNames: 50_000,
  escapes: 3_000_000,
}

/** Thrown when an answer exceeds the byte cap or one of the bounds. The rest of the answer is not read. */
export class AnswerTooLargeError extends Error {}

/** Scans an answer while it arrives. `push` throws AnswerTooLargeError. */
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
