import type { Batch, BatchEndpoint, LineFailure } from '../../batches/batch.ts'
import { checkLine, isFault, type LineFault } from '../../batches/check-line.ts'
import { termsOf, underTerms } from '../../config/key-terms.ts'
import type { Config } from '../../config/schema.ts'
import { resolveTenant } from '../../config/tenants.ts'
import type { Job, JobError } from '../../jobs/job.ts'
import type { NewJob } from '../../jobs/new-job.ts'
import type { JsonObject, JsonValue } from '../../lib/json.ts'
import { withMembers } from '../../lib/json-source.ts'
import type { JsonScanner } from '../../lib/scan-json.ts'
import { ApiError, toErrorMembers } from '../errors.ts'
import { parseRequest } from '../issues.ts'
import type { CreateJob } from '../jobs/create-schema.ts'
import { planWay } from '../jobs/plan-way.ts'
import { type SubmitDeps, toNewJob } from '../jobs/submit.ts'
import { createBodyScanner } from '../json-bounds.ts'
import { describeFailure } from '../openai/failure.ts'
import { describeMissingModel } from '../openai/missing-model.ts'
import { toResponseId } from '../openai/response-id.ts'
import { originOfBatch } from '../origin.ts'
import { LARGE_TEXT_BYTES, parseJson, parseLargeJson } from '../parse-json.ts'
import {
  chatBodySchema,
  completionBodySchema,
  embeddingBodySchema,
  imageBodySchema,
  imageEditBodySchema,
  messageBodySchema,
  moderationBodySchema,
  rerankBodySchema,
  responseBodySchema,
  speechBodySchema,
  transcriptionBodySchema,
  translationBodySchema,
} from '../schemas/bodies.ts'

/** Reads the lines of batches like their endpoints do. batches/runner/lines.ts declares it for the workers. */
export type BatchLineReader = {
  /** Makes a scanner that finds lines with more structure than a request may have, while they are read. */
  createScanner(): JsonScanner
  /** Checks what makes the whole batch invalid: everything around the body, and that the model exists. */
  check(text: Buffer, endpoint: BatchEndpoint): Promise<{ customId: string; model: string } | LineFault>
  /** The job for a line, or the error that its endpoint would return. Null: the tenant is no longer configured. */
  read(
    text: Buffer,
    place: { batch: Batch; index: number },
  ): Promise<{ customId: string; made: NewJob | LineFailure } | null>
}

const kinds = {
  '/v1/chat/completions': { type: 'chat', schema: chatBodySchema },
  '/v1/embeddings': { type: 'embedding', schema: embeddingBodySchema },
  '/v1/responses': { type: 'response', schema: responseBodySchema },
  '/v1/messages': { type: 'message', schema: messageBodySchema },
  '/v1/completions': { type: 'completion', schema: completionBodySchema },
  '/v1/moderations': { type: 'moderation', schema: moderationBodySchema },
  '/v1/rerank': { type: 'rerank', schema: rerankBodySchema },
  '/v1/images/generations': { type: 'image', schema: imageBodySchema },
  '/v1/images/edits': { type: 'image_edit', schema: imageEditBodySchema },
  '/v1/audio/speech': { type: 'speech', schema: speechBodySchema },
  '/v1/audio/transcriptions': { type: 'transcription', schema: transcriptionBodySchema },
  '/v1/audio/translations': { type: 'translation', schema: translationBodySchema },
} as const

export function createBatchLineReader(deps: SubmitDeps & { config: () => Config }): BatchLineReader {
  return {
    createScanner: createBodyScanner,

    async check(text, endpoint) {
      const found = await readEnvelope(text, endpoint)
      if (isFault(found) || deps.submission.resolveModel(found.model) !== null) return found
      const message = describeMissingModel(found.model, deps.submission.listModels())
      return { code: 'model_not_found', message, param: 'body.model' }
    },

    async read(text, { batch, index }) {
      const owner = resolveTenant(deps.config(), batch.tenant)
      if (owner === null) return null
      const tenant = underTerms(owner, termsOf(batch))
      const found = await readEnvelope(text, batch.endpoint)
      // These faults did not exist when the batch was validated.
      if (isFault(found)) return { customId: '', made: { code: found.code, message: found.message } }
      const { customId, body } = found
      try {
        const { type, schema } = kinds[batch.endpoint]
        refuseModes(body)
        const create = {
          type,
          body: parseRequest(schema, body, 'body', 'body'),
          priority: 'low',
          tier: 'auto',
          group: batch.id,
          metadata: { custom_id: customId },
        } as CreateJob
        // Clients cannot send such a key, because it contains a line break.
        const key = `${batch.id}\n${index}`
        const { gather: _, ...job } = toNewJob(tenant, create, key, deps)
        const made = { ...job, ...originOfBatch(batch), deadline: batch.expiresAt, fingerprint: key }
        const [lane] = deps.submission.resolveModel(job.lane)!.lanes
        const question = { ...made, askedTimeoutMs: undefined }
        const way = planWay(question, lane!, 'auto', deps.now(), deps.submission.batchTurnaround(job.lane))
        return { customId, made: { ...made, ...way } }
      } catch (error) {
        if (!(error instanceof ApiError)) throw error
        return { customId, made: { status: error.status, error: shapeError(error) } }
      }
    },
  }
}

/** The provider's error where it gave one; otherwise an error of the batch. */
export function describeLineFailure(failed: JobError): LineFailure {
  if (failed.provider_status === null) return { code: failed.code, message: failed.message }
  const { status, error } = describeFailure(failed)
  return { status, error }
}

async function readEnvelope(text: Buffer, endpoint: BatchEndpoint) {
  let value: JsonValue
  try {
    const isLarge = text.length >= LARGE_TEXT_BYTES
    value = isLarge ? await parseLargeJson(text, 'line') : parseJson(text, 'line', { isScanned: true })
  } catch (error) {
    if (!(error instanceof ApiError)) throw error
    return { code: 'invalid_json_line', message: `This line cannot be read: ${error.message}.`, param: null }
  }
  return checkLine(value, endpoint)
}

/** A result in the form of its endpoint. A response has our id, by which it can be fetched. */
export function showLineResult(job: Job): JsonObject {
  const result = job.result ?? {}
  return job.type === 'response' ? withMembers(result, { id: toResponseId(job.id) }) : result
}

/** Streams, background responses and conversations need a client that waits, so batches refuse them. */
function refuseModes(body: JsonObject): void {
  for (const name of ['stream', 'background', 'previous_response_id']) {
    if (!body[name]) continue
    throw new ApiError('invalid_request', `body.${name}: is not for requests of a batch`, {
      param: `body.${name}`,
    })
  }
}

/** In the form of the endpoint: `param` is a path within the body. */
function shapeError(error: ApiError): Record<string, unknown> {
  const members = toErrorMembers(error)
  return { ...members, param: members.param?.replace(/^body\.?/, '') || null }
}
