import { Writable } from 'node:stream'
import { pino } from 'pino'
import { buildApp } from '../../api/app.ts'
import type { Api, ApiDeps, ApiLimits } from '../../api/deps.ts'
import { type Lane, resolveModel } from '../../config/lanes.ts'
import { type Config, type ConfigInput, configSchema } from '../../config/schema.ts'
import { createKeyring } from '../../config/tenants.ts'
import { createMemoryJobs, type MemoryJobs } from './memory-jobs.ts'

/** The error with which a broken store answers in tests. */
export class StoreAway extends Error {}

export const acmeKey = 'acme-key-0123456789'
export const otherKey = 'other-key-0123456789'
export const opsKey = 'ops-key-0123456789'

/** Three tenants: two ordinary ones and an administrator. */
export const testTenants: ConfigInput['tenants'] = {
  acme: { keys: [acmeKey], limits: { max_queued: 1000 } },
  other: { keys: [otherKey] },
  ops: { keys: [opsKey], admin: true },
}

export type TestApi = {
  app: Api
  jobs: MemoryJobs
  config: Config
  /** What was logged, one parsed line each. */
  logged: Record<string, unknown>[]
  /** Begins to listen on a free port of 127.0.0.1. */
  listen(): Promise<string>
  close(): Promise<void>
}

export type TestApiOptions = {
  tenants?: ConfigInput['tenants']
  limits?: Partial<ApiLimits>
  records?: boolean
  overrides?: Partial<ApiDeps>
}

/** The API over a store in memory: `openai/small` is fast and limited, `fast` is its alias. */
export function createTestApi(options: TestApiOptions = {}): TestApi {
  const config = configSchema.parse({
    providers: {
      openai: {
        kind: 'openai',
        base_url: 'http://127.0.0.1:9/v1',
        api_key: 'unused',
        limits: { requests_per_minute: 600, tokens_per_minute: 6000 },
        timeout: '90s',
        models: { small: {}, embed: {} },
      },
    },
    routes: { fast: ['openai/small'] },
    tenants: options.tenants ?? {},
  } satisfies ConfigInput)
  const logged: Record<string, unknown>[] = []
  const sink = new Writable({
    write(chunk: Buffer, _encoding, done) {
      logged.push(JSON.parse(chunk.toString()))
      done()
    },
  })
  const jobs = createMemoryJobs({ now: Date.now, records: options.records ?? true })
  let ids = 0
  const app = buildApp({
    jobs,
    config: () => config,
    keyring: () => createKeyring(config),
    resolveModel: (model) => resolveModel(config, model),
    estimateCost: (_lane: Lane, _type, body) => estimate(JSON.stringify(body).length),
    checkWebhookUrl: (url) =>
      url.startsWith('https://') ? { ok: true } : { ok: false, reason: 'expected an https URL' },
    ready: async () => ({ ok: true }),
    isUnavailable: (error) => error instanceof StoreAway,
    log: pino({ level: 'warn' }, sink),
    now: Date.now,
    createId: () => `request-${++ids}`,
    version: '0.0.0-test',
    ...(options.limits === undefined ? {} : { limits: options.limits }),
    ...options.overrides,
  })
  return {
    app,
    jobs,
    config,
    logged,
    listen: () => app.listen({ host: '127.0.0.1', port: 0 }),
    close: () => app.close(),
  }
}

function estimate(bytes: number) {
  const tokens = Math.ceil(bytes / 4)
  return { tokens, inputTokens: tokens, outputTokens: 0, inputs: 1, coalesceKey: null }
}

/** A create object of a chat job; `members` go over it. */
export function chatJob(members: Record<string, unknown> = {}, text = 'hello') {
  return {
    type: 'chat',
    body: { model: 'openai/small', messages: [{ role: 'user', content: text }] },
    ...members,
  }
}
