import type { Job } from '../../jobs/job.ts'
import type { JobRequest } from '../../jobs/jobs.ts'
import type { JsonObject } from '../../lib/json.ts'
import { withMembers } from '../../lib/json-source.ts'
import { toResponseId } from './response-id.ts'

/** The parts of a job that its response is made from. */
export type ResponseSource = Pick<JobRequest, 'job' | 'body' | 'previousResponseId'>

const STATUSES: Record<Job['status'], string> = {
  scheduled: 'queued',
  queued: 'queued',
  running: 'in_progress',
  // Its result cannot be decrypted.
  completed: 'failed',
  failed: 'failed',
  cancelled: 'cancelled',
}

/** Whether nobody waits for the answer: it is fetched later. */
export function isBackground({ body }: Pick<ResponseSource, 'body'>): boolean {
  return body.background === true
}

/** The current response. */
export function describeResponse(source: ResponseSource): JsonObject {
  const { job } = source
  if (job.status === 'completed' && job.error === null) return showResult(source, job.result ?? {})
  const response = describeOpen(source, STATUSES[job.status])
  if (job.error === null) return response
  const { provider_error: given, code, message } = job.error
  return { ...response, error: { code: given?.code ?? code, message: given?.message ?? message } }
}

/** The provider's own response, with the ids that this client knows. */
export function showResult(source: ResponseSource, result: JsonObject): JsonObject {
  const { job, previousResponseId } = source
  return withMembers(result, {
    id: toResponseId(job.id),
    ...(previousResponseId === null ? {} : { previous_response_id: previousResponseId }),
    ...(isBackground(source) ? { background: true } : {}),
  })
}

/** A response without any output yet: the request's members, and OpenAI's defaults. */
export function describeOpen(source: ResponseSource, status: string): JsonObject {
  const { job, body, previousResponseId } = source
  return {
    id: toResponseId(job.id),
    object: 'response',
    created_at: Math.floor(Date.parse(job.created_at) / 1000),
    status,
    background: isBackground(source),
    completed_at: null,
    error: null,
    incomplete_details: null,
    instructions: body.instructions ?? null,
    max_output_tokens: body.max_output_tokens ?? null,
    max_tool_calls: body.max_tool_calls ?? null,
    metadata: body.metadata ?? {},
    model: job.model,
    output: [],
    parallel_tool_calls: body.parallel_tool_calls ?? true,
    previous_response_id: previousResponseId ?? body.previous_response_id ?? null,
    reasoning: body.reasoning ?? { effort: null, summary: null },
    service_tier: body.service_tier ?? 'auto',
    store: body.store ?? true,
    temperature: body.temperature ?? 1,
    text: body.text ?? { format: { type: 'text' } },
    tool_choice: body.tool_choice ?? 'auto',
    tools: body.tools ?? [],
    top_p: body.top_p ?? 1,
    truncation: body.truncation ?? 'disabled',
    usage: null,
  }
}
