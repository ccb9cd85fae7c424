import { z } from 'zod'
import type { NewBatch } from '../../batches/batch.ts'
import { termsOf } from '../../config/key-terms.ts'
import { tenantOf } from '../auth.ts'
import type { Api, RouteContext } from '../deps.ts'
import { ApiError, checkId, notFound } from '../errors.ts'
import { parseIdempotencyKey } from '../idempotency-key.ts'
import { keyReused, refuseWithoutMemory } from '../jobs/refusals.ts'
import { originOf } from '../origin.ts'
import { errorResponses, listSchema, pageQuery, toList } from '../schemas/common.ts'
import { batchSchema, createBatchSchema, toBatchAnswer } from './schema.ts'

const tags = ['OpenAI-compatible']
const idParams = z.object({ id: z.string() })
const listQuery = z.object({
  limit: z.coerce.number().int().min(1).max(100).default(20),
  after: pageQuery('batch').after,
})

const hourMs = 3_600_000

/** Batches with OpenAI's API: a file of requests, each of which becomes a job. Workers run them. */
export function registerBatchRoutes(app: Api, { deps }: RouteContext): void {
  const { batches, files } = deps.store

  app.post(
    '/v1/batches',
    {
      config: { access: 'jobs' },
      schema: {
        tags,
        operationId: 'createBatch',
        summary: 'Create a batch',
        description:
          'Runs the requests of a file, each as a job of low priority in the group of the same name as the batch. With an ' +
          '`Idempotency-Key` the same payload is the same batch.',
        body: createBatchSchema,
        response: { 200: batchSchema, ...errorResponses },
      },
    },
    async (request, reply) => {
      const owner = tenantOf(request)
      const { name: tenant } = owner
      const { body } = request
      const key = parseIdempotencyKey(request.headers['idempotency-key'])
      await refuseWithoutMemory(deps)
      const file = await files.get(tenant, body.input_file_id)
      if (file === null) throw notFound('file')
      if (file.purpose !== 'batch') {
        throw new ApiError('invalid_request', 'input_file_id: expected a file of the purpose "batch"', {
          param: 'input_file_id',
        })
      }
      const batch: NewBatch = {
        endpoint: body.endpoint,
        inputFileId: file.id,
        completionWindow: body.completion_window,
        windowMs: Number.parseInt(body.completion_window, 10) * hourMs,
        metadata: body.metadata ?? null,
        outputExpiresAfter: body.output_expires_after?.seconds ?? null,
        ...originOf(request),
        ...termsOf(owner),
      }
      const outcome = await batches.create(tenant, batch, key)
      if (outcome.kind === 'conflict') throw keyReused()
      if (outcome.kind === 'replayed') reply.header('idempotent-replayed', 'true')
      return toBatchAnswer(outcome.batch)
    },
  )

  app.get(
    '/v1/batches',
    {
      config: { access: 'read' },
      schema: {
        tags,
        operationId: 'listBatches',
        summary: 'List batches, newest first',
        querystring: listQuery,
        response: { 200: listSchema(batchSchema), ...errorResponses },
      },
    },
    async (request) => {
      const { limit, after = null } = request.query
      const page = await batches.list(tenantOf(request).name, { limit, after })
      return toList(page.batches.map(toBatchAnswer), page.hasMore)
    },
  )

  app.get(
    '/v1/batches/:id',
    {
      config: { access: 'read' },
      schema: {
        tags,
        operationId: 'getBatch',
        summary: 'Get a batch',
        params: idParams,
        response: { 200: batchSchema, ...errorResponses },
      },
    },
    async (request) => {
      const batch = await batches.get(tenantOf(request).name, checkId(request.params.id, 'batch'))
      if (batch === null) throw notFound('batch')
      return toBatchAnswer(batch)
    },
  )

  app.post(
    '/v1/batches/:id/cancel',
    {
      config: { access: 'jobs' },
      schema: {
        tags,
        operationId: 'cancelBatch',
        summary: 'Cancel a batch',
        description: 'Results so far are written to its files.',
        params: idParams,
        response: { 200: batchSchema, ...errorResponses },
      },
    },
    async (request) => {
      const outcome = await batches.cancel(tenantOf(request).name, checkId(request.params.id, 'batch'))
      if (outcome === null) throw notFound('batch')
      if (outcome.kind === 'late') {
        throw new ApiError('not_cancellable', `the batch is already ${outcome.batch.status}`)
      }
      return toBatchAnswer(outcome.batch)
    },
  )
}
