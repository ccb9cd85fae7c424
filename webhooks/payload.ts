import type { JsonObject } from '../lib/json.ts'
import { sourceOf, stringifyJson } from '../lib/json-source.ts'
import type { WebhookEvent } from './delivery.ts'

/** Results larger than this (as JSON, in bytes) are left out; the receiver fetches them. */
const MAX_RESULT_BYTES = 256 * 1024

/**
 * The body of a webhook: `{"type","timestamp","data":{job}}`. A result over 256 KiB is null in it, with
 * `result_omitted: true` and `result_url` beside.
 *
 * `atIso` is when the event happened; `linkBase` the public address of the API, without a slash at its end.
 */
export function webhookPayload(
  event: WebhookEvent,
  job: { id: string; result: JsonObject | null },
  atIso: string,
  linkBase: string,
): string {
  const tooLarge = job.result !== null && Buffer.byteLength(sourceOf(job.result)) > MAX_RESULT_BYTES
  const data = tooLarge
    ? {
        ...job,
        result: null,
        result_omitted: true,
        result_url: `${linkBase}/v1/jobs/${encodeURIComponent(job.id)}`,
      }
    : job
  return stringifyJson({ type: event, timestamp: atIso, data })
}
