import { Readable } from 'node:stream'
import type { FastifyRequest } from 'fastify'
import { z } from 'zod'
import { type Batch, isBatchId, isOver } from '../../batches/batch.ts'
import { termsOf } from '../../config/key-terms.ts'
import type { JsonObject } from '../../lib/json.ts'
import { tenantOf } from '../auth.ts'
import type { Api, RouteContext } from '../deps.ts'
import { ApiError, notFound } from '../errors.ts'
import { parseIdempotencyKey } from '../idempotency-key.ts'
import { keyReused, refuseWithoutMemory } from '../jobs/refusals.ts'
import { originOf } from '../origin.ts'
import { anthropicErrors, anthropicTags as tags } from './errors.ts'
import {
  createMessageBatchSchema,
  listInputLines,
  messageBatchSchema,
  toBatchId,
  toMessageBatch,
  toMessageBatchId,
  toMessageResult,
} from './message-batch.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
/** How long results are kept: the same as at Anthropic. */
const KEPT_DAYS = 29

const idParams = z.object({ id: z.string() })
const listQuery = z.looseObject({
  limit: z.coerce.number().int().min(1).max(1000).default(20),
  after_id: z.string().optional(),
})

/**
 * Batches with Anthropic's API: requests in one body, results by `custom_id`. Each is a batch of `/v1/batches` whose lines are messages.
 * Both APIs show it, with different id prefixes.
 */
export function registerMessageBatchRoutes(app: Api, { deps }: RouteContext): void {
  const { batches, files } = deps.store
  const show = (request: FastifyRequest, batch: Batch) => toMessageBatch(batch, urlOf(request))

  function urlOf({ protocol, host }: FastifyRequest): string {
    return deps.config().server.public_url ?? `${protocol}://${host}`
  }

  async function find(request: FastifyRequest & { params: { id: string } }): Promise<Batch> {
    const id = toBatchId(request.params.id)
    const batch = isBatchId(id) ? await batches.get(tenantOf(request).name, id) : null
    if (batch === null || batch.endpoint !== '/v1/messages') throw notFound('batch')
    return batch
  }

  app.post(
    '/v1/messages/batches',
    {
      config: { access: 'jobs' },
      schema: {
        tags,
        operationId: 'createMessageBatch',
        summary: 'Create a batch of messages',
        description:
          'Runs each request as a job of low priority, on lanes of every kind. The body may have 32 MiB.',
        body: createMessageBatchSchema,
        response: { 200: messageBatchSchema, ...anthropicErrors },
      },
    },
    async (request, reply) => {
      const owner = tenantOf(request)
      const { name: tenant } = owner
      const key = parseIdempotencyKey(request.headers['idempotency-key'])
      await refuseWithoutMemory(deps)
      const file = await files.create(
        tenant,
        (createdAt) => ({
          filename: 'requests.jsonl',
          purpose: 'batch',
          expiresAt: createdAt + (KEPT_DAYS + 1) * DAY_MS,
        }),
        Readable.from(listInputLines(request.body as JsonObject)),
      )
      const outcome = await batches.create(
        tenant,
        {
          endpoint: '/v1/messages',
          inputFileId: file.id,
          completionWindow: '24h',
          windowMs: 24 * HOUR_MS,
          metadata: null,
          outputExpiresAfter: KEPT_DAYS * 86_400,
          ...originOf(request),
          ...termsOf(owner),
        },
        key,
      )
      if (outcome.kind === 'conflict') {
        await files.remove(tenant, file.id)
        throw keyReused()
      }
      if (outcome.kind === 'replayed') {
        reply.header('idempotent-replayed', 'true')
        if (outcome.batch.inputFileId !== file.id) await files.remove(tenant, file.id)
      }
      return show(request, outcome.batch)
    },
  )

  app.get(
    '/v1/messages/batches',
    {
      config: { access: 'read' },
      schema: {
        tags,
        operationId: 'listMessageBatches',
        summary: 'List batches of messages, newest first',
        querystring: listQuery,
        response: {
          200: z.object({
            data: z.array(messageBatchSchema),
            has_more: z.boolean(),
            first_id: z.string().nullable(),
            last_id: z.string().nullable(),
          }),
          ...anthropicErrors,
        },
      },
    },
    async (request) => {
      const { limit, after_id: afterId } = request.query
      let after = afterId === undefined ? null : toBatchId(afterId)
      const found: Batch[] = []
      let hasMore = true
      while (hasMore && found.length <= limit) {
        const page = await batches.list(tenantOf(request).name, { limit: 100, after })
        found.push(...page.batches.filter(({ endpoint }) => endpoint === '/v1/messages'))
        hasMore = page.hasMore
        after = page.batches.at(-1)?.id ?? after
      }
      const data = found.slice(0, limit).map((batch) => show(request, batch))
      return {
        data,
        has_more: found.length > limit,
        first_id: data[0]?.id ?? null,
        last_id: data.at(-1)?.id ?? null,
      }
    },
  )

  app.get(
    '/v1/messages/batches/:id',
    {
      config: { access: 'read' },
      schema: {
        tags,
        operationId: 'getMessageBatch',
        summary: 'Get a batch of messages',
        params: idParams,
        response: { 200: messageBatchSchema, ...anthropicErrors },
      },
    },
    async (request) => show(request, await find(request)),
  )

  app.post(
    '/v1/messages/batches/:id/cancel',
    {
      config: { access: 'jobs' },
      schema: {
        tags,
        operationId: 'cancelMessageBatch',
        summary: 'Cancel a batch of messages',
        params: idParams,
        response: { 200: messageBatchSchema, ...anthropicErrors },
      },
    },
    async (request) => {
      const batch = await find(request)
      const outcome = await batches.cancel(tenantOf(request).name, batch.id)
      return show(request, outcome === null ? batch : outcome.batch)
    },
  )

  app.delete(
    '/v1/messages/batches/:id',
    {
      config: { access: 'jobs' },
      schema: {
        tags,
        operationId: 'deleteMessageBatch',
        summary: 'Delete a batch of messages that has ended',
        description: 'Its requests and results are deleted with it. Its jobs are kept as long as other jobs.',
        params: idParams,
        response: {
          200: z
            .object({ id: z.string(), type: z.literal('message_batch_deleted') })
            .meta({ id: 'DeletedMessageBatch' }),
          ...anthropicErrors,
        },
      },
    },
    async (request) => {
      const batch = await find(request)
      const id = toMessageBatchId(batch.id)
      if (!isOver(batch.status)) {
        throw new ApiError(
          'invalid_request',
          `${id} has not ended: cancel it, and delete it when it has ended`,
        )
      }
      const tenant = tenantOf(request).name
      // The batch is removed last: after a crash it can be deleted again.
      for (const file of [batch.inputFileId, batch.outputFileId, batch.errorFileId]) {
        if (file !== null) await files.remove(tenant, file)
      }
      await batches.remove(tenant, batch.id)
      return { id, type: 'message_batch_deleted' as const }
    },
  )

  app.get(
    '/v1/messages/batches/:id/results',
    {
      config: { access: 'read' },
      schema: {
        tags,
        operationId: 'getMessageBatchResults',
        summary: 'Read the results of a batch of messages',
        description: 'A line for each request, in any order.',
        params: idParams,
        response: {
          200: {
            description: 'JSON lines.',
            content: { 'application/x-jsonl': { schema: z.string() } },
          },
          ...anthropicErrors,
        } as never,
      },
    },
    async (request, reply) => {
      const batch = await find(request)
      const id = toMessageBatchId(batch.id)
      if (!isOver(batch.status))
        throw new ApiError('invalid_request', `${id} has not ended yet; its results come when it ends`)
      const tenant = tenantOf(request).name
      const parts = [batch.outputFileId, batch.errorFileId].filter((file) => file !== null)
      const lines = async function* () {
        for (const file of parts) {
          const content = await files.read(tenant, file)
          if (content !== null)
            for await (const line of readLines(content)) yield toMessageResult(line, request.id)
        }
      }
      return reply.type('application/x-jsonl').send(Readable.from(lines()) as never)
    },
  )
}

/** The lines of a file that arrives in chunks. The last line may have no line break. */
async function* readLines(content: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder()
  let rest = ''
  for await (const part of content) {
    const lines = (rest + decoder.decode(part, { stream: true })).split('\n')
    rest = lines.pop()!
    yield* lines.filter((line) => line !== '')
  }
  if (rest !== '') yield rest
}
