import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { onTestFinished } from 'vitest'
import { createLiveConfig } from '../../../config/watch.ts'
import type { Attempt, Job } from '../../../jobs/job.ts'
import { openWorker } from '../../../services.ts'
import type { BatchSettings } from '../../../simulator/batches/options.ts'
import { createSimulator, type Simulator } from '../../../simulator/simulator.ts'
import { type PassingAnswer, startAlteringProxy } from '../../helpers/altering-proxy.ts'
import { opsKey, parseTestConfig } from '../../helpers/api.ts'
import { type TestPlace, testRedis } from '../../helpers/redis.ts'
import { openTestService, placeService, type TestService } from '../../helpers/service.ts'

export const key = 'key-of-acme-0123456789'

export type BatchHouse = {
  service: TestService
  place: TestPlace
  simulator: Simulator
  submit(prompt: string, members?: object, body?: object): Promise<string>
  job(id: string): Promise<Job>
  /** Resolves with the job once it has ended. */
  ended(id: string): Promise<Job>
  attempts(id: string): Promise<Attempt[]>
  /** Resolves once this holds; looks every 20 ms. */
  until<T>(look: () => Promise<T | false | null> | T | false | null): Promise<T>
  /** Closes the worker and opens another one, with these settings of the model in place of its tiers. */
  restart(chat: object, between: () => void): Promise<void>
  /** How often each prompt was bought, by its hash. */
  bought(): number[]
}

/** An API and a worker over the simulator, whose batches are gathered for 50 ms and polled every 30 ms. */
export async function openBatchHouse(
  options: {
    batches?: Partial<BatchSettings>
    tier?: object
    /** Keys of the encryption. */
    encryption?: readonly string[]
    /** It has flex as well. */
    flex?: boolean
    kind?: 'openai' | 'anthropic' | 'gemini' | 'azure-openai'
    /** Changes the provider's answers on their way. */
    alter?: (answer: PassingAnswer) => void | Promise<void>
    /** A budget of the tenant, USD a day. */
    budget?: number
  } = {},
): Promise<BatchHouse> {
  const simulator = createSimulator({ batches: options.batches ?? {} })
  const simulated = await simulator.listen()
  onTestFinished(() => simulator.close())
  const url = options.alter === undefined ? simulated : await startAlteringProxy(simulated, options.alter)
  const spool = await mkdtemp(join(tmpdir(), 'batches-'))
  onTestFinished(() => rm(spool, { recursive: true, force: true }))
  const place = testRedis()
  const tiers = {
    flex: options.flex ? { timeout: '20s' } : 'off',
    batch: { gather: '50ms', poll: '30ms', leave_before: '1h', ...options.tier },
  }
  const price = { input: 1, output: 2 }
  const { kind = 'openai' } = options
  const limits = options.budget === undefined ? {} : { budget_usd_per_day: options.budget }
  const settings = (chat: object) =>
    parseTestConfig({
      ...placeService(place),
      worker: { spool },
      ...(options.encryption === undefined ? {} : { encryption: { keys: [...options.encryption] } }),
      tenants: { ops: { keys: [opsKey], admin: true }, acme: { keys: [key], limits } },
      providers: {
        up: {
          kind,
          base_url: kind === 'openai' ? url : url.replace(/\/v1$/, kind === 'gemini' ? '/v1beta/openai' : ''),
          api_key: 'unused-but-long',
          retry: { base: '50ms', cap: '200ms' },
          models: {
            chat: { price, ...chat },
            embed: { price, tiers },
            plain: { price },
          },
        },
      },
      routes: {},
    } as Parameters<typeof parseTestConfig>[0])
  const config = settings({ tiers })
  const live = createLiveConfig(config)
  const service = await openTestService(config)
  const log = pino({ level: process.env.TEST_LOG ?? 'silent' })
  const worker = await openWorker({ config: live, log, version: '0.0.0-test' })
  const workers = [worker]
  onTestFinished(async () => {
    for (const one of workers) await one.close()
  })

  async function until<T>(look: () => Promise<T | false | null> | T | false | null): Promise<T> {
    for (let tries = 0; tries < 500; tries++) {
      const found = await look()
      if (found) return found
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    throw new Error('it did not happen within 10 s')
  }

  const job = (id: string) => service.job(id, key)
  return {
    service,
    place,
    async restart(chat, between) {
      await workers.pop()!.close()
      between()
      live.replace(settings(chat))
      workers.push(await openWorker({ config: live, log, version: '0.0.0-test' }))
    },
    simulator,
    job,
    until,
    async submit(prompt, members = {}, body = {}) {
      const request = { model: 'up/chat', messages: [{ role: 'user', content: prompt }], ...body }
      const reply = await service.submit({ type: 'chat', body: request, tier: 'batch', ...members }, key)
      if (reply.status > 202) throw new Error(JSON.stringify(reply.body))
      return reply.body.id
    },
    ended: (id) =>
      until(async () => {
        const found = await job(id)
        return found.finished_at !== null && found
      }),
    async attempts(id) {
      const reply = await service.call<{ data: Attempt[] }>('GET', `/v1/jobs/${id}/attempts`, { key })
      return reply.body.data
    },
    bought() {
      const counts = new Map<string, number>()
      for (const { prompt_hash } of simulator.calls())
        counts.set(prompt_hash, (counts.get(prompt_hash) ?? 0) + 1)
      return [...counts.values()]
    },
  }
}
