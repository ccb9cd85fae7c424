import type { JsonObject } from '../lib/json.ts'
import { sourceOf, stringifyJson } from '../lib/json-source.ts'
import type { WebhookEvent } from './delivery.ts'

/** Results larger than this (as JSON, in bytes) are left out. The receiver fetches them. */
const MAX_RESULT_BYTES = 256 * 1024

/** The subject of a webhook: a job, a flow with its steps, or a budget's event. */
export type WebhookSubject = {
  id: string
  result?: JsonObject | null
  steps?: Record<string, { result: unknown; job_id: string | null }>
  output?: unknown
}

/**
 * Writes the body of a webhook: `{"type","timestamp","data":{job}}`. A result over 256 KiB is null, with `result_omitted: true` and
 * `result_url` beside it. If a flow is larger than that, the results of all its steps and its output are left out.
 *
 * `atIso` is when the event happened; `linkBase` is the public URL of the API, without a trailing slash.
 */
export function webhookPayload(
  event: WebhookEvent,
  subject: WebhookSubject,
  atIso: string,
  linkBase: string,
): string {
  const data = subject.steps === undefined ? boundJob(subject, linkBase) : boundFlow(subject, linkBase)
  return stringifyJson({ type: event, timestamp: atIso, data })
}

function boundJob(job: WebhookSubject, linkBase: string): object {
  const isTooLarge = job.result != null && Buffer.byteLength(sourceOf(job.result)) > MAX_RESULT_BYTES
  return isTooLarge ? { ...job, result: null, ...omission(`${linkBase}/v1/jobs/`, job.id) } : job
}

function boundFlow(flow: WebhookSubject, linkBase: string): object {
  if (Buffer.byteLength(stringifyJson(flow)) <= MAX_RESULT_BYTES) return flow
  const path = `${linkBase}/v1/flows/`
  const steps = Object.entries(flow.steps ?? {}).map(([name, step]) => {
    if (step.result === null) return [name, step] as const
    return [name, { ...step, result: null, ...omission(path, flow.id) }] as const
  })
  return { ...flow, steps: Object.fromEntries(steps), output: null, ...omission(path, flow.id) }
}

function omission(path: string, id: string) {
  return { result_omitted: true, result_url: `${path}${encodeURIComponent(id)}` }
}
