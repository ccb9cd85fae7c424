import { type Job, JobStatus } from './job.ts'

/** Says of a job read without its result that there is one, and where. Completed jobs alone have one. */
export function omitResult(job: Job): Job {
  if (job.status !== JobStatus.completed) return job
  return { ...job, result: null, result_omitted: true, result_url: `/v1/jobs/${job.id}` }
}

/** The job without what `omitResult` said. */
export function withoutOmission({ result_omitted: _omitted, result_url: _url, ...job }: Job): Job {
  return job
}
