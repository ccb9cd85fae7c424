import type { Claimed } from '../jobs/claim.ts'
import type { AttemptEnd } from '../jobs/finish.ts'
import type { JsonObject } from '../lib/json.ts'
import type { ProviderAnswer, ProviderFailure } from '../providers/provider.ts'
import type { SourceShut } from './sources.ts'

/** Events of the calls of a worker. */
export type CallEvents = { 'call.ended': EndedCall; 'source.shut': SourceShut }

/** A provider call that ended. */
export type EndedCall = {
  lane: string
  jobs: number
  outcome: AttemptEnd['outcome']
  latencyMs: number
  /** From the start to the first chunk of a stream, ms; null: there was no chunk. */
  firstChunkMs: number | null
  /** Unix ms. */
  startedAt: number
  /** The source of the lane that was called; null: it has none. */
  source: string | null
  /** The jobs of the call. */
  claimed: readonly Claimed[]
  /** The request; holds prompts. */
  body: JsonObject
  /** The outcome; holds answers. */
  answer: ProviderAnswer
}

/** The outcome that an attempt stores for each class of failure. */
export const OUTCOMES: Record<ProviderFailure['class'], AttemptEnd['outcome']> = {
  throttled: 'throttled',
  retryable: 'retryable',
  timeout: 'timeout',
  final: 'failed',
  aborted: 'aborted',
}
