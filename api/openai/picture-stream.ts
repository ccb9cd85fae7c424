import type { Job } from '../../jobs/job.ts'
import { fileIdOf } from '../../lib/input-files.ts'
import { isJsonObject, type JsonObject, type JsonValue } from '../../lib/json.ts'
import { stringifyLine } from '../../lib/json-source.ts'
import type { ApiStore } from '../deps.ts'
import { notFound } from '../errors.ts'
import { readWhole } from '../files/send-content.ts'
import type { StreamForm } from './stream.ts'
import { watchCall } from './watch.ts'

/** The progress of a call, with its images read from their files. */
export function watchPictures({ store: { files } }: { store: Pick<ApiStore, 'files'> }): typeof watchCall {
  async function withPicture(entry: JsonValue, tenant: string): Promise<JsonValue> {
    const id = fileIdOf(entry)
    if (id === null || !isJsonObject(entry)) return entry
    const bytes = await readWhole(files, tenant, id)
    if (bytes === null) throw notFound('file')
    const { file_id: _id, content_type: _type, bytes: _bytes, ...members } = entry
    return { ...members, b64_json: bytes.toString('base64') }
  }

  async function withPictures(job: Job, tenant: string): Promise<Job> {
    const data = job.status === 'completed' ? job.result?.data : null
    if (!Array.isArray(data)) return job
    const whole = await Promise.all(data.map((entry) => withPicture(entry, tenant)))
    return { ...job, result: { ...job.result, data: whole } }
  }

  return async function* watch(jobs, call, signal) {
    for await (const step of watchCall(jobs, call, signal)) {
      if (step.kind === 'chunk') yield { ...step, chunk: await withPicture(step.chunk, call.tenant) }
      else if (step.kind === 'ended') yield { ...step, job: await withPictures(step.job, call.tenant) }
      else yield step
    }
  }
}

/**
 * Streams images: partial ones while they arrive, then the completed ones (OpenAI, "Image streaming events").
 *
 * @param kind prefix of its event names: `image_generation`, `image_edit`
 */
export function createPictureForm(kind: string): StreamForm {
  function writeCompleted(result: JsonObject): string {
    const { data, created, ...members } = result
    return (Array.isArray(data) ? data : [])
      .filter(isJsonObject)
      .map((picture) =>
        writeEvent({ type: `${kind}.completed`, ...picture, created_at: created ?? 0, ...members }),
      )
      .join('')
  }
  return {
    chunk: writeEvent,
    end: writeCompleted,
    replay: writeCompleted,
    error: (error) => `event: error\ndata: ${stringifyLine({ type: 'error', error })}\n\n`,
  }
}

function writeEvent(event: JsonValue): string {
  const name = isJsonObject(event) && typeof event.type === 'string' ? `event: ${event.type}\n` : ''
  return `${name}data: ${stringifyLine(event)}\n\n`
}
