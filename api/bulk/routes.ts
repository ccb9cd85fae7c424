import { PassThrough, type Readable } from 'node:stream'
import { z } from 'zod'
import { tenantOf } from '../auth.ts'
import type { Api, RouteContext } from '../deps.ts'
import { parseFairKey } from '../fair-key.ts'
import { parseIdempotencyKey, parseIdempotencyPolicy } from '../idempotency-key.ts'
import { bulkLineSchema } from '../jobs/create-schema.ts'
import { refuseWithoutMemory } from '../jobs/refusals.ts'
import { refuseEncodings } from '../json-body.ts'
import { originOf } from '../origin.ts'
import { readBody } from '../read-body.ts'
import { bulkAnswerSchema, errorResponses } from '../schemas/common.ts'
import { readUpload } from './read-upload.ts'
import { createArraySplitter } from './split-array.ts'
import { createLineSplitter } from './split-lines.ts'
import { type BulkAnswer, submitBulk } from './submit-bulk.ts'

const lineTypes = ['application/x-ndjson', 'application/ndjson', 'application/jsonl']

/** Untyped, because the route writes the answer's text itself. */
const response: unknown = {
  200: {
    content: {
      'application/json': { schema: z.array(bulkAnswerSchema) },
      'application/x-ndjson': { schema: bulkAnswerSchema },
    },
  },
  ...errorResponses,
}

/** `POST /v1/jobs/bulk`: many jobs in one upload, read and answered as a stream. */
export function registerBulkRoute(app: Api, { deps, limits, closing }: RouteContext): void {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser(['application/json', ...lineTypes], (_request, payload, done) =>
    done(null, payload),
  )

  app.post(
    '/v1/jobs/bulk',
    {
      config: { access: 'jobs' },
      schema: {
        tags: ['Jobs'],
        operationId: 'createJobs',
        summary: 'Create many jobs',
        description:
          `NDJSON, one create object a line, or a JSON array; up to ${limits.bulkJobs} jobs or ${limits.bulkBytes} bytes. ` +
          'Answers in the same form, one answer for each job, in order. A bad job does not affect the others. A line whose key matches a job ' +
          'that failed returns that job; with `Idempotency-Key-Policy: retry-failed` it is queued again.',
        consumes: ['application/json', 'application/x-ndjson'],
        body: z.array(bulkLineSchema),
        response,
      },
      // The body is a stream. Each job is validated when it is read.
      validatorCompiler: () => (value: unknown) => ({ value }),
    },
    async (request, reply) => {
      const { headers } = request
      refuseEncodings(headers['content-encoding'])
      await refuseWithoutMemory(deps)
      const body = (request.body ?? request.raw) as unknown as Readable
      const declared = headers['content-length']
      if (Number(declared ?? 0) > limits.bulkBytes) {
        await readBody(body, { limit: limits.bulkBytes, timeout: limits.bodyTimeout, declared })
      }
      const form = headers['content-type']?.toLowerCase().startsWith('application/json') ? 'array' : 'lines'
      const splitter = form === 'array' ? createArraySplitter : createLineSplitter
      const answers = submitBulk(
        readUpload(body, {
          idleTimeout: limits.bulkIdleTimeout,
          timeout: limits.bulkTimeout,
          now: () => performance.now(),
        }),
        {
          tenant: tenantOf(request),
          origin: originOf(request),
          splitter: splitter({ limit: limits.bodyBytes }),
          fairKey: parseFairKey(headers['x-fair-key']),
          idempotencyKey: parseIdempotencyKey(headers['idempotency-key']),
          policy: parseIdempotencyPolicy(headers['idempotency-key-policy']),
          deps,
          limits,
          closing,
        },
      )
      const texts = form === 'array' ? encodeArray(answers) : encodeLines(answers)
      // The status is chosen after the first batch, so that an unavailable store is still a plain 503.
      const first = await texts.next()
      reply.type(form === 'array' ? 'application/json; charset=utf-8' : 'application/x-ndjson; charset=utf-8')
      return reply.send(pump(first, texts))
    },
  )
}

/**
 * Streams the answers. They are buffered in memory, because most clients read nothing until they have sent everything. The number of jobs
 * bounds the buffer.
 */
function pump(first: IteratorResult<string>, rest: AsyncGenerator<string>): Readable {
  const out = new PassThrough()
  const copy = async () => {
    for (let result = first; result.done !== true && !out.destroyed; result = await rest.next())
      out.write(result.value)
    await rest.return(undefined)
    out.end()
  }
  copy().catch((error: Error) => out.destroy(error))
  return out
}

async function* encodeLines(batches: AsyncIterable<BulkAnswer[]>): AsyncGenerator<string> {
  for await (const batch of batches) yield batch.map((answer) => `${JSON.stringify(answer)}\n`).join('')
}

async function* encodeArray(batches: AsyncIterable<BulkAnswer[]>): AsyncGenerator<string> {
  let before = '['
  for await (const batch of batches) {
    yield before + batch.map((answer) => JSON.stringify(answer)).join(',\n')
    before = ',\n'
  }
  yield before === '[' ? '[]' : ']'
}
