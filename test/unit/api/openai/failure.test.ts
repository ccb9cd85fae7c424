import { describe, expect, it } from 'vitest'
import { describeResponse } from '../../../../api/openai/describe-response.ts'
import { describeFailure } from '../../../../api/openai/failure.ts'
import { failureOf } from '../../../../api/openai/stream.ts'
import type { Job, JobError } from '../../../../jobs/job.ts'

const failed = (members: Partial<JobError>): JobError => ({
  code: 'broken',
  message: 'It broke.',
  provider_status: null,
  retryable: false,
  ...members,
})

describe('the failure of a job, for a client of OpenAI', () => {
  it('is the status and the error object of the provider, members of its own included', () => {
    const provider_error = { message: 'No.', type: 't', param: 'p', code: 'c', inner: { a: 1 } }
    expect(describeFailure(failed({ provider_status: 418, provider_error }))).toEqual({
      status: 418,
      error: provider_error,
      isRetryable: false,
    })
  })

  it('has all four members, whichever the provider left out', () => {
    expect(describeFailure(failed({ provider_status: 404, provider_error: { detail: 'x' } })).error).toEqual({
      detail: 'x',
      message: 'It broke.',
      type: 'not_found_error',
      param: null,
      code: null,
    })
    expect(describeFailure(failed({ provider_status: 500 })).error).toEqual({
      message: 'It broke.',
      type: 'server_error',
      param: null,
      code: 'broken',
    })
  })

  it.each<[Partial<JobError>, number]>([
    [{ code: 'timeout', retryable: true }, 504],
    [{ code: 'deadline_exceeded' }, 504],
    [{ code: 'exceeds_limit' }, 422],
    [{ code: 'worker_lost', retryable: true }, 503],
    [{ code: 'undecryptable', retryable: true }, 500],
    [{ code: 'connection_error', retryable: true }, 502],
    [{ code: 'invalid_answer', provider_status: 200, retryable: true }, 502],
    [{ code: 'http_302', provider_status: 302 }, 502],
    [{ provider_status: 200, provider_error: { code: 429 } }, 429],
    [{ provider_status: 200, provider_error: { code: 'content_filter' } }, 400],
    [{ provider_status: 200, provider_error: { code: 'server_error' }, retryable: true }, 502],
  ])('of %j has the status %d', (members, status) => {
    const failure = describeFailure(failed(members))
    expect([failure.status, failure.isRetryable]).toEqual([status, members.retryable ?? false])
  })
})

describe('a job that completed, and whose result cannot be decrypted', () => {
  const error = failed({ code: 'undecryptable', retryable: true })
  const job = {
    id: 'job_1',
    status: 'completed',
    result: null,
    error,
    created_at: '2026-11-24T00:00:00Z',
  } as Job

  it('has failed, for every client that waits for it', () => {
    expect(failureOf({ kind: 'ended', job })).toMatchObject({ status: 500, error: { code: 'undecryptable' } })
    expect(failureOf({ kind: 'ended', job: { ...job, error: null, result: {} } })).toBeNull()
  })

  it('is a response that failed', () => {
    expect(describeResponse({ job, body: {}, previousResponseId: null })).toMatchObject({
      status: 'failed',
      error: { code: 'undecryptable', message: 'It broke.' },
    })
  })
})
