import { renderLine } from '../../batches/render-line.ts'
import { isJsonObject, type JsonValue } from '../../lib/json.ts'
import type { ErrorMembers } from '../client.ts'
import type { Job, JobError } from '../job.ts'
import type { Form } from './read-request.ts'

/** The outcome of a line: its ended job, or why it has none. */
export type Result = { line: number; form: Form } & ({ job: Job } | { error: ErrorMembers; jobId?: string })

/** Whether the job of the line completed. */
export function isCompleted(result: Result): boolean {
  return 'job' in result && result.job.status === 'completed'
}

/**
 * One line of the results, with its line break. For a batch line it has the form of OpenAI's output and error files; otherwise it contains
 * the job.
 */
export function renderResult(result: Result, digest: string): string {
  const { line, form } = result
  if (form.kind === 'batch') return renderLine(digest, line, describe(result, form.customId))
  return `${JSON.stringify('job' in result ? { line, job: result.job } : { line, error: result.error })}\n`
}

function describe(result: Result, customId: string): Parameters<typeof renderLine>[2] {
  if (!('job' in result)) {
    const { code, message } = result.error
    const failure = { code: code ?? 'server_error', message }
    return { customId, request: result.jobId ?? null, outcome: { failure } }
  }
  const { job } = result
  const request = job.id
  if (job.status === 'completed') return { customId, request, outcome: { result: job.result ?? {} } }
  const { code, message, provider_status: status, provider_error } = job.error ?? cancelled
  const failure =
    status === null
      ? { code, message }
      : { status, error: provider_error ?? { message, type: 'server_error', param: null, code } }
  return { customId, request, outcome: { failure } }
}

const cancelled: JobError = {
  code: 'job_cancelled',
  message: 'the job of this line was cancelled',
  provider_status: null,
}

/** The place and the success of a line of the results; null: not such a line. */
export function readResult(text: string): { place: number | string; isCompleted: boolean } | null {
  let value: JsonValue
  try {
    value = JSON.parse(text) as JsonValue
  } catch {
    return null
  }
  if (!isJsonObject(value)) return null
  const { line, job, custom_id: customId, response } = value
  if (typeof line === 'number')
    return { place: line, isCompleted: isJsonObject(job) && job.status === 'completed' }
  if (typeof customId !== 'string' || response === undefined) return null
  return { place: customId, isCompleted: isJsonObject(response) && response.status_code === 200 }
}

/** The place that `readResult` finds in the result of a line. */
export function placeOf({ line, form }: { line: number; form: Form }): number | string {
  return form.kind === 'batch' ? form.customId : line
}
