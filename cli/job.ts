import type { JsonObject } from '../lib/json.ts'

/** The members of a job in an answer that commands read; the others are passed on. */
export type Job = {
  id: string
  type: string
  status: 'scheduled' | 'queued' | 'running' | 'completed' | 'failed' | 'cancelled'
  model: string
  group: string | null
  created_at: string
  finished_at: string | null
  cost_usd: number | null
  result: JsonObject | null
  /** There is a result, but this answer does not contain it. */
  result_omitted?: true
  error: JobError | null
}

export type JobError = {
  code: string
  message: string
  provider_status: number | null
  provider_error?: JsonObject
}

export function hasEnded({ status }: Pick<Job, 'status'>): boolean {
  return status === 'completed' || status === 'failed' || status === 'cancelled'
}
