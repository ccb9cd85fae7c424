import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { pino } from 'pino'
import { type ConfigInput, configSchema } from '../../../config/schema.ts'
import { createLiveConfig } from '../../../config/watch.ts'
import { openApi, openWorker } from '../../../services.ts'
import type { SimulatorOptions } from '../../../simulator/options.ts'
import { createSimulator } from '../../../simulator/simulator.ts'
import { type TestPlace, testRedis } from '../../helpers/redis.ts'
import { placeService } from '../../helpers/service.ts'

/** The key of the provider, and of the tenant. */
export const providerKey = 'canary-provider-key-7d1e'
export const tenantKey = 'canary-tenant-key-9a3b'
export const webhookSecret = 'canary-webhook-secret-52c8'

export type House = {
  url: string
  place: TestPlace
  headers: Record<string, string>
  logged: Record<string, unknown>[]
  post(path: string, body: unknown, headers?: Record<string, string>): Promise<Response>
  get<Answer>(path: string): Promise<Answer>
  /** Ends worker and API, as SIGTERM does; answers how long that took, ms. */
  stop(): Promise<number>
}

/**
 * API and worker in this process, put together as main.ts does, with a simulated provider. The test has to stop them.
 */
export async function openHouse(
  members: Partial<ConfigInput> = {},
  options: { simulator?: SimulatorOptions; worker?: boolean } = {},
): Promise<House> {
  const folder = await mkdtemp(join(tmpdir(), 'house-'))
  const simulator = createSimulator(options.simulator ?? {})
  const place = testRedis()
  const config = configSchema.parse({
    ...placeService(place),
    providers: {
      sim: {
        kind: 'openai-compatible',
        base_url: await simulator.listen(),
        api_key: providerKey,
        timeout: '10s',
        limits: { max_concurrency: 16 },
        retry: { base: '10ms', cap: '20ms', max_attempts: 2 },
        models: {
          chat: {},
          other: {},
          batched: { tiers: { batch: { gather: '10ms', poll: '20ms' } } },
          embed: { coalesce: { max_inputs: 16, max_tokens: 10_000, max_wait: '100ms' } },
        },
      },
    },
    tenants: { acme: { keys: [tenantKey], admin: true } },
    webhooks: { secret: webhookSecret, allow_private_addresses: true, schedule: ['0s'] },
    worker: { spool: join(folder, 'spool') },
    ...members,
  } satisfies ConfigInput)
  const logged: Record<string, unknown>[] = []
  const sink = new Writable({
    write(chunk, _encoding, done) {
      logged.push(
        ...String(chunk)
          .trim()
          .split('\n')
          .map((line) => JSON.parse(line)),
      )
      done()
    },
  })
  const deps = {
    config: createLiveConfig(config),
    log: pino({ level: 'debug' }, sink),
    version: '0.0.0-test',
  }
  const worker = options.worker === false ? null : await openWorker(deps)
  const api = await openApi(deps)
  const headers = { authorization: `Bearer ${tenantKey}` }

  return {
    url: api.url!,
    place,
    headers,
    logged,
    post: (path, body, further = {}) =>
      fetch(api.url + path, {
        method: 'POST',
        headers: {
          ...headers,
          ...(body instanceof FormData ? {} : { 'content-type': 'application/json' }),
          ...further,
        },
        body: body instanceof FormData || typeof body === 'string' ? body : JSON.stringify(body),
      }),
    get: async <Answer>(path: string) => (await (await fetch(api.url + path, { headers })).json()) as Answer,
    async stop() {
      const since = performance.now()
      await api.close()
      await worker?.close()
      const took = performance.now() - since
      await simulator.close()
      await rm(folder, { recursive: true, force: true })
      return took
    },
  }
}

/** A caller's context, in a trace of its own. */
export function newTrace(flags = '01') {
  const id = randomBytes(16).toString('hex')
  const span = randomBytes(8).toString('hex')
  return { id, span, headers: { traceparent: `00-${id}-${span}-${flags}` } }
}
