import { parseLargeResult } from '../../jobs/job-result.ts'
import type { JsonObject, JsonValue } from '../../lib/json.ts'
import { describeBreak, describeCancellation, describeFailure, type Failure } from './failure.ts'
import type { CallProgress } from './watch.ts'

/** What an endpoint's event stream looks like. It keeps what was sent, to know whether that is all. */
export type StreamForm = {
  /** One chunk of the provider's. */
  chunk(chunk: JsonValue): string
  /** What ends a stream that went well; null: the chunks sent do not add up to the result. */
  end(result: JsonObject): string | null
  /** A result that came in one piece, as the whole stream it would have come in. */
  replay(result: JsonObject): string
  /** What ends a stream that failed. `step`: what the job came to; null: this stream alone stops. */
  error(error: JsonObject, step: CallProgress | null): string
}

type StreamOptions = {
  form: StreamForm
  /** Nothing more of the job is of use to this client. `broken`: the job itself may go on. */
  onDone: (outcome: 'ended' | 'broken' | 'stopped') => void
  /** What to tell the client when the progress stops without an end, or fails. */
  describeStop: (error: unknown) => Failure
}

/**
 * The text of a streamed answer, from its first piece. A failure underway is the last event. Never throws: the
 * client could not be told.
 */
export async function* encodeStream(
  progress: AsyncIterable<CallProgress>,
  { form, onDone, describeStop }: StreamOptions,
): AsyncGenerator<string> {
  let hasBegun = false
  try {
    for await (const step of progress) {
      if (step.kind === 'chunk') {
        hasBegun = true
        const text = form.chunk(step.chunk)
        if (text !== '') yield text
        continue
      }
      onDone(step.kind === 'broken' ? 'broken' : 'ended')
      const failure = failureOf(step)
      if (failure) return yield form.error(failure.error, step)
      if (step.kind === 'ended') await parseLargeResult(step.job)
      const result = step.kind === 'ended' ? (step.job.result ?? {}) : {}
      if (!hasBegun) return yield form.replay(result)
      // Chunks get lost when the store does not take them; the result does not.
      return yield form.end(result) ?? form.error(describeBreak('lost_chunks').error, step)
    }
    onDone('stopped')
    yield form.error(describeStop(null).error, null)
  } catch (error) {
    onDone('stopped')
    yield form.error(describeStop(error).error, null)
  }
}

/** What went wrong; null for chunks and for jobs that completed. */
export function failureOf(step: CallProgress): Failure | null {
  switch (step.kind) {
    case 'chunk':
      return null
    case 'broken':
      return describeBreak(step.reason)
    case 'gone':
      return describeCancellation()
    case 'ended':
      // A result that is there, but cannot be decrypted, has left an error in its place.
      if (step.job.status === 'completed' && step.job.error === null) return null
      return step.job.error ? describeFailure(step.job.error) : describeCancellation()
  }
}
