// The headers that routes read and answers carry, for the OpenAPI document. The code that reads them is beside the routes.

type Header = { description: string; schema: { type: string } }
type Parameter = Header & { name: string; in: string; required: boolean }
type Response = { $ref?: string; headers?: Record<string, Header> }
export type Operation = {
  operationId?: string
  summary?: string
  description?: string
  parameters?: { name: string; in: string }[]
  responses?: Record<string, Response>
}

const text = (description: string): Header => ({ description, schema: { type: 'string' } })

const requestHeaders = {
  'Idempotency-Key': text(
    'Identifies the submission for 24 h: the same key with the same payload is the same job. Up to 255 printable ASCII characters.',
  ),
  'Idempotency-Key-Policy': text(
    'What to do if the job of the key failed: `replay` (default) returns the failure again, `retry-failed` queues the job again.',
  ),
  'x-fair-key': text(
    "The user of the tenant that the job is for, like `fair_key` of a job: turns rotate among the tenant's keys. 1 to 256 characters.",
  ),
  Prefer: text(
    '`wait=N` holds the answer up to N seconds; `respond-async` answers 202 with the job (RFC 7240).',
  ),
  'Cache-Control': text('`no-cache` asks for a new answer, `no-store` bypasses the cache.'),
  'Last-Event-ID': text('The `id` of the last event that you read: only later ones are sent.'),
}

const everyAnswer = {
  'x-request-id': text('Identifies the request in the log. Your own is used if it is valid.'),
}
const errorAnswer = {
  ...everyAnswer,
  'retry-after': text('Seconds after which a retry may help; absent if it will not.'),
  'x-should-retry': text('`false` if a retry will not help.'),
}
const callAnswer = {
  'x-job-id': text('The job of this call.'),
  'x-cache': text('Where the answer came from: `miss`, `hit`, `shared` or `off`.'),
  'x-dropped-members': text(
    'Members of the body that were left out because the provider has no counterpart.',
  ),
  'idempotent-replayed': text('`true` if the Idempotency-Key returned an earlier job.'),
}
const scheduleLocation = { location: text('The path of the schedule.') }
const location = { location: text('The path of the job.') }

type Declared = { request?: (keyof typeof requestHeaders)[]; answer?: Record<string, Header> }

const keyed = ['Idempotency-Key', 'Idempotency-Key-Policy'] as const
const call: Declared = {
  request: [...keyed, 'x-fair-key', 'Prefer', 'Cache-Control'],
  answer: { ...callAnswer, ...location },
}

/** By `operationId`. */
const declared: Record<string, Declared> = {
  createJob: {
    request: [...keyed, 'x-fair-key'],
    answer: { ...location, 'idempotent-replayed': callAnswer['idempotent-replayed'] },
  },
  createSchedule: {
    request: ['Idempotency-Key'],
    answer: { ...scheduleLocation, 'idempotent-replayed': callAnswer['idempotent-replayed'] },
  },
  runSchedule: {
    request: ['Idempotency-Key'],
    answer: { ...location, 'idempotent-replayed': callAnswer['idempotent-replayed'] },
  },
  createJobs: { request: [...keyed, 'x-fair-key'] },
  getJob: { request: ['Prefer'] },
  followJob: { request: ['Last-Event-ID'] },
  followGroup: { request: ['Last-Event-ID'] },
  createChatCompletion: call,
  createEmbedding: call,
  createResponse: call,
  getResponse: { answer: { 'x-job-id': callAnswer['x-job-id'], 'x-cache': callAnswer['x-cache'] } },
}

/** Declares the headers of one operation, and adds a description where there is none. Changes it in place. */
export function declareHeaders(operation: Operation): void {
  const { request = [], answer = {} } = declared[operation.operationId ?? ''] ?? {}
  operation.description ??= `${operation.summary}.`
  const parameters = request.map(
    (name): Parameter => ({ name, in: 'header', required: false, ...requestHeaders[name] }),
  )
  if (parameters.length > 0) operation.parameters = [...(operation.parameters ?? []), ...parameters]
  for (const [status, response] of Object.entries(operation.responses ?? {})) {
    if (response.$ref !== undefined) continue
    const isError = /^[45]/.test(status)
    response.headers = { ...response.headers, ...(isError ? errorAnswer : { ...everyAnswer, ...answer }) }
  }
}
