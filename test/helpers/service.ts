import { pino } from 'pino'
import { onTestFinished, type TestContext } from 'vitest'
import type { ErrorMembers } from '../../api/errors.ts'
import type { Config } from '../../config/schema.ts'
import { createLiveConfig } from '../../config/watch.ts'
import type { Job } from '../../jobs/job.ts'
import { openApi } from '../../services.ts'
import { openTestWorker, type TestWorker } from './api-worker.ts'
import { type TestPlace, toConfig } from './redis.ts'

/** An answer; `Body` is what the test expects, also if the answer is an error. */
export type Reply<Body> = { status: number; headers: Headers; body: Body & { error?: ErrorMembers } }

export type CallOptions = { key?: string; body?: unknown; headers?: Record<string, string> }

export type TestService = {
  url: string
  call<Body = object>(method: string, path: string, options?: CallOptions): Promise<Reply<Body>>
  /** Creates a job. */
  submit(job: object, key?: string, headers?: Record<string, string>): Promise<Reply<Job>>
  /** Creates many jobs, with an answer for each. */
  submitAll(jobs: object[], key?: string): Promise<BulkAnswer[]>
  job(id: string, key?: string): Promise<Job>
}

export type BulkAnswer = { index: number; id?: string; status?: string; error?: ErrorMembers }

/** The API as `npm run api` runs it, without a worker. Closed with the test, which gives its context if others run beside it. */
export async function openTestService(
  config: Config,
  context: Pick<TestContext, 'onTestFinished'> = { onTestFinished },
): Promise<TestService> {
  const log = pino({ level: 'silent' })
  const { url, close } = await openApi({ config: createLiveConfig(config), log, version: '0.0.0-test' })
  context.onTestFinished(close)

  async function call<Body>(method: string, path: string, options: CallOptions = {}): Promise<Reply<Body>> {
    const { key, body, headers = {} } = options
    const text = body === undefined || typeof body === 'string' ? body : JSON.stringify(body)
    const response = await fetch(`${url}${path}`, {
      method,
      headers: {
        ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
        ...(text === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(text === undefined ? {} : { body: text }),
    })
    const answer = await response.text()
    return { status: response.status, headers: response.headers, body: JSON.parse(answer || '{}') }
  }

  return {
    url: url!,
    call,
    submit: (job, key, headers = {}) =>
      call('POST', '/v1/jobs', { body: job, headers, ...(key === undefined ? {} : { key }) }),
    async submitAll(jobs, key) {
      const options = { body: jobs, ...(key === undefined ? {} : { key }) }
      return (await call<BulkAnswer[]>('POST', '/v1/jobs/bulk', options)).body
    },
    async job(id, key) {
      return (await call<Job>('GET', `/v1/jobs/${id}`, key === undefined ? {} : { key })).body
    },
  }
}

/** A worker for the services of this configuration. Closed with the test. */
export function openServiceWorker(config: Config): TestWorker {
  const { url, cluster, prefix } = config.redis
  const place = { url: url ?? cluster![0]!, ...(cluster === undefined ? {} : { cluster }), prefix }
  const worker = openTestWorker({ place, config })
  onTestFinished(worker.close)
  return worker
}

/** The members of a configuration that put a service on the shared Redis, in its own place. */
export function placeService(place: TestPlace) {
  return { server: { host: '127.0.0.1', port: 0 }, redis: toConfig(place) }
}
