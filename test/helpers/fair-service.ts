import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { onTestFinished, type TestContext } from 'vitest'
import type { LaneView } from '../../api/lanes/lanes.ts'
import { createLiveConfig } from '../../config/watch.ts'
import type { Job } from '../../jobs/job.ts'
import type { JsonObject } from '../../lib/json.ts'
import { openWorker } from '../../services.ts'
import { opsKey, parseTestConfig } from './api.ts'
import { testRedis } from './redis.ts'
import { openTestService, placeService, type TestService } from './service.ts'
import { answer, type Script, startUpstream, type Upstream } from './upstream.ts'

/** An API and a worker over an upstream that a test scripts. Tenants are created by their names. */
export type FairService = {
  service: TestService
  upstream: Upstream
  /** Submits jobs with these prompts and answers their ids. */
  submit(tenant: string, prompts: string[], members?: Record<string, unknown>): Promise<string[]>
  job(tenant: string, id: string): Promise<Job>
  /** Resolves when the job has ended, with how long that took from now, ms. */
  ended(tenant: string, id: string): Promise<{ job: Job; ms: number }>
  lane(id?: string): Promise<LaneView>
  steer(action: 'pause' | 'resume', body?: object, id?: string): Promise<void>
  /** Stops the worker as a deployment does, and starts another. */
  restartWorker(): Promise<void>
}

const keyOf = (tenant: string) => `key-of-${tenant}-0123456789`

export async function openFairService(options: {
  tenants: string[]
  limits?: object
  lane?: object
  routes?: Record<string, string[]>
  perFairKey?: { max_running?: number; max_queued?: number; requests_per_minute?: number }
  /** Of a test that runs beside others. */
  context?: Pick<TestContext, 'onTestFinished'>
}): Promise<FairService> {
  const context = options.context ?? { onTestFinished }
  const upstream = await startUpstream()
  context.onTestFinished(() => upstream.close())
  upstream.script = (call, response) => answerOf(call.body, response)
  const spool = await mkdtemp(join(tmpdir(), 'fair-'))
  context.onTestFinished(() => rm(spool, { recursive: true, force: true }))
  const model = options.lane ?? {}
  const config = parseTestConfig({
    ...placeService(testRedis()),
    worker: { spool },
    cache: { ttl: '1s' },
    tenants: {
      ops: { keys: [opsKey], admin: true },
      ...Object.fromEntries(
        options.tenants.map((tenant) => [
          tenant,
          {
            keys: [keyOf(tenant)],
            ...(options.perFairKey === undefined ? {} : { per_fair_key: options.perFairKey }),
          },
        ]),
      ),
    },
    providers: {
      up: {
        kind: 'openai-compatible',
        base_url: upstream.url,
        api_key: 'unused',
        limits: options.limits ?? {},
        retry: { base: '50ms', cap: '200ms' },
        models: {
          chat: model,
          second: model,
          embed: { coalesce: { max_inputs: 64, max_wait: '20ms' }, ...model },
        },
      },
    },
    routes: options.routes ?? {},
  })
  const service = await openTestService(config, context)
  const log = pino({ level: 'silent' })
  const startWorker = () => openWorker({ config: createLiveConfig(config), log, version: '0.0.0-test' })
  let worker = await startWorker()
  context.onTestFinished(() => worker.close())

  const job = (tenant: string, id: string) => service.job(id, keyOf(tenant))
  return {
    service,
    upstream,
    job,
    async submit(tenant, prompts, { body = {}, ...members } = {}) {
      const jobs = prompts.map((content) => ({
        type: 'chat',
        body: { model: 'up/chat', messages: [{ role: 'user', content }], ...(body as object) },
        ...members,
      }))
      const answers = await service.submitAll(jobs, keyOf(tenant))
      return answers.map((one) => {
        if (one.id === undefined) throw new Error(JSON.stringify(one))
        return one.id
      })
    },
    async ended(tenant, id) {
      const startedAt = performance.now()
      for (;;) {
        const { body } = await service.call<Job>('GET', `/v1/jobs/${id}?wait=30`, { key: keyOf(tenant) })
        if (!['scheduled', 'queued', 'running'].includes(body.status))
          return { job: body, ms: performance.now() - startedAt }
      }
    },
    lane: async (id = 'up/chat') =>
      (await service.call<LaneView>('GET', `/v1/lanes/${id}`, { key: opsKey })).body,
    async steer(action, body, id = 'up/chat') {
      const reply = await service.call('POST', `/v1/lanes/${id}/${action}`, {
        key: opsKey,
        ...(body ? { body } : {}),
      })
      if (reply.status !== 200) throw new Error(JSON.stringify(reply.body))
    },
    async restartWorker() {
      await worker.close()
      worker = await startWorker()
    },
  }
}

/** The prompt, or all inputs, of a call. */
export function promptOf(body: JsonObject): string {
  const { messages, input } = body as { messages?: { content: string }[]; input?: string | string[] }
  return messages ? messages.map((one) => one.content).join(' ') : [input].flat().join(' ')
}

/** Answers like a working provider. */
export function answerOf(body: JsonObject, response: Parameters<Script>[1]): void {
  if (body.input !== undefined) {
    const data = [body.input].flat().map((_, index) => ({ object: 'embedding', index, embedding: [0.5, 1] }))
    answer(response, 200, {
      object: 'list',
      model: 'm',
      data,
      usage: { prompt_tokens: data.length, total_tokens: data.length },
    })
    return
  }
  answer(response, 200, {
    id: 'c',
    object: 'chat.completion',
    created: 1,
    model: 'm',
    choices: [{ index: 0, message: { role: 'assistant', content: 'fine' }, finish_reason: 'stop' }],
    usage: { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 },
  })
}
