import { type Job, JobStatus } from './job.ts'

/** Says of a job without its result where the result is. Only completed jobs have one. */
export function omitResult(job: Job): Job {
  if (job.status !== JobStatus.completed) return job
  return { ...job, result: null, result_omitted: true, result_url: `/v1/jobs/${job.id}` }
}

/** The job without the members that `omitResult` added. */
export function withoutOmission({ result_omitted: _omitted, result_url: _url, ...job }: Job): Job {
  return job
}
