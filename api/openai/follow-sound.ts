import type { Job } from '../../jobs/job.ts'
import { fileIdOf } from '../../lib/input-files.ts'
import { isJsonObject, type JsonValue } from '../../lib/json.ts'
import type { ApiStore } from '../deps.ts'
import { notFound } from '../errors.ts'
import type { OpenAiCall } from './call.ts'
import { failureOf } from './stream.ts'
import { type CallProgress, waitForEnd, watchCall } from './watch.ts'

type Jobs = Parameters<typeof watchCall>[0]

/** The progress of a speech: its bytes instead of chunks. All of them have come before `ended` of a job that completed. */
export type SoundProgress =
  | Exclude<CallProgress, { kind: 'chunk' }>
  /** `of`: the job has ended, and its sound comes from its file; absent: it runs. */
  | { kind: 'sound'; bytes: Uint8Array; contentType: string; of?: Job }

/**
 * Follows a speech while its worker stages what the provider sends, and goes on with the file of the result: with the bytes that did not come live, or
 * with all of them where the job had ended before, or where an attempt broke off before a byte of it had come. Throws `not_found` where the file was deleted.
 */
export async function* followSound(
  { store: { files } }: { store: Pick<ApiStore, 'files'> },
  jobs: Jobs,
  call: OpenAiCall,
  signal: AbortSignal,
): AsyncGenerator<SoundProgress> {
  let sent = 0

  async function* readRest(job: Job): AsyncGenerator<SoundProgress> {
    const entry = Array.isArray(job.result?.data) ? job.result.data[0] : undefined
    const id = fileIdOf(entry)
    const content = id === null ? null : await files.read(call.tenant, id, sent)
    if (content === null) throw notFound('file')
    for await (const bytes of content) {
      if (bytes.length > 0) yield { kind: 'sound', bytes, contentType: typeOf(entry), of: job }
    }
  }

  async function* withRest(step: Exclude<CallProgress, { kind: 'chunk' }>): AsyncGenerator<SoundProgress> {
    if (step.kind === 'ended' && failureOf(step) === null) yield* readRest(step.job)
    yield step
  }

  for await (const step of watchCall(jobs, call, signal)) {
    if (step.kind === 'chunk') {
      const piece = readPiece(step.chunk)
      // A piece was lost: what follows it waits for the file.
      if (piece === null || piece.from !== sent) continue
      const bytes = await files.readPart(call.tenant, piece.liveId, piece.part)
      if (bytes === null) continue
      sent += bytes.length
      yield { kind: 'sound', bytes, contentType: typeOf(step.chunk) }
    } else if (step.kind === 'broken' && sent === 0) {
      // Its pieces were lost or deleted before they were read: the client may have the sound of another attempt.
      for await (const end of waitForEnd(jobs, call, signal)) yield* withRest(end)
    } else {
      yield* withRest(step)
    }
  }
}

/** Where a worker has staged a piece; see workers/sound-pieces.ts. */
function readPiece(chunk: JsonValue): { liveId: string; part: number; from: number } | null {
  if (!isJsonObject(chunk)) return null
  const { live_id: liveId, part, from } = chunk
  return typeof liveId === 'string' && typeof part === 'number' && typeof from === 'number'
    ? { liveId, part, from }
    : null
}

function typeOf(value: JsonValue | undefined): string {
  const stated = isJsonObject(value) ? value.content_type : null
  return typeof stated === 'string' ? stated : 'application/octet-stream'
}
