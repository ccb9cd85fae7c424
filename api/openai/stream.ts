import { parseLargeResult } from '../../jobs/job-result.ts'
import type { JsonObject, JsonValue } from '../../lib/json.ts'
import { describeBreak, describeCancellation, describeFailure, type Failure } from './failure.ts'
import type { CallProgress } from './watch.ts'

/** The format of an endpoint's event stream. It tracks what was sent, to know whether the answer is complete. */
export type StreamForm = {
  /** Writes one chunk of the provider. */
  chunk(chunk: JsonValue): string
  /** Writes the end of a successful stream; null: the chunks sent do not add up to the result. */
  end(result: JsonObject): string | null
  /** Writes a result that came whole as a complete stream. */
  replay(result: JsonObject): string
  /** Writes the end of a failed stream. `step`: the end of the job; null: only this stream stops. */
  error(error: JsonObject, step: CallProgress | null): string
}

type StreamOptions = {
  form: StreamForm
  /** The client needs nothing more of the job. `broken`: the job itself may continue. */
  onDone: (outcome: 'ended' | 'broken' | 'stopped') => void
  /** The error for the client when the progress stops without an end, or fails. */
  describeStop: (error: unknown) => Failure
}

/** The text of a streamed answer, from its first piece. A failure is the last event. Never throws, because the client could not be told. */
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
      // Chunks are lost when the store does not accept them; the result is not.
      return yield form.end(result) ?? form.error(describeBreak('lost_chunks').error, step)
    }
    onDone('stopped')
    yield form.error(describeStop(null).error, null)
  } catch (error) {
    onDone('stopped')
    yield form.error(describeStop(error).error, null)
  }
}

/** The failure of a step; null for chunks and for completed jobs. */
export function failureOf(step: CallProgress): Failure | null {
  switch (step.kind) {
    case 'chunk':
      return null
    case 'broken':
      return describeBreak(step.reason)
    case 'gone':
      return describeCancellation()
    case 'ended':
      // A result that cannot be decrypted leaves an error in its place.
      if (step.job.status === 'completed' && step.job.error === null) return null
      return step.job.error ? describeFailure(step.job.error) : describeCancellation()
  }
}
