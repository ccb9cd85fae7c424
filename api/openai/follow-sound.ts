import type { Job } from '../../jobs/job.ts'
import { fileIdOf } from '../../lib/input-files.ts'
import { isJsonObject, type JsonValue } from '../../lib/json.ts'
import type { ApiStore } from '../deps.ts'
import { notFound } from '../errors.ts'
import type { OpenAiCall } from './call.ts'
import { failureOf } from './stream.ts'
import { type CallProgress, waitForEnd, watchCall } from './watch.ts'

type Jobs = Parameters<typeof watchCall>[0]

/** The progress of a speech, with bytes instead of chunks. All bytes come before `ended` of a completed job. */
export type SoundProgress =
  | Exclude<CallProgress, { kind: 'chunk' }>
  /** `of`: the job has ended, and its audio comes from its file; absent: it is running. */
  | { kind: 'sound'; bytes: Uint8Array; contentType: string; of?: Job }

/**
 * Follows a speech while its worker stages what the provider sends, then continues with the result's file. Reads from the file what did not
 * come live: all of it, if the job had ended before, or if an attempt broke off before its first byte. Throws `not_found` if the file was
 * deleted.
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
      // A piece was lost: the rest comes from the file.
      if (piece === null || piece.from !== sent) continue
      const bytes = await files.readPart(call.tenant, piece.liveId, piece.part)
      if (bytes === null) continue
      sent += bytes.length
      yield { kind: 'sound', bytes, contentType: typeOf(step.chunk) }
    } else if (step.kind === 'broken' && sent === 0) {
      // Its pieces were lost or deleted before they were read. Nothing was sent, so the client may get the audio of another attempt.
      for await (const end of waitForEnd(jobs, call, signal)) yield* withRest(end)
    } else {
      yield* withRest(step)
    }
  }
}

/** The staged piece of a worker; see workers/sound-pieces.ts. */
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
