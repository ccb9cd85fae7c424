import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { afterAll, beforeAll, expect, onTestFinished } from 'vitest'
import { loadConfig } from '../../../config/load.ts'
import { createLiveConfig } from '../../../config/watch.ts'
import type { FlowView } from '../../../flows/view.ts'
import type { Job } from '../../../jobs/job.ts'
import { closeRedis, createRedis } from '../../../lib/redis.ts'
import type { Service } from '../../../services/closers.ts'
import { openApi, openWorker } from '../../../services.ts'
import type { SimulatorOptions } from '../../../simulator/options.ts'
import { createSimulator } from '../../../simulator/simulator.ts'
import { testEncryption } from '../../helpers/encryption.ts'
import { testRedis, toConfig } from '../../helpers/redis.ts'

export const KEY = 'a-key-of-acme-0123456789'
export const OTHER = 'a-key-of-other-0123456789'

export type Reply<Body> = { status: number; headers: Headers; body: Body }
export type ErrorBody = { error: { message: string; code: string; param: string | null } }

export type FlowShopOptions = {
  simulator?: SimulatorOptions
  workers?: number
  limits?: string
  /** More YAML of the configuration. */
  extra?: string
  /** YAML of the tenant's limits. */
  tenant?: string
}

export type FlowShop = Awaited<ReturnType<typeof openFlowShop>>

/** One for all tests of a file, closed after the last. */
export function shareFlowShop(options: FlowShopOptions = {}): () => FlowShop {
  const closers: (() => Promise<void>)[] = []
  let shop: FlowShop | null = null
  beforeAll(async () => {
    shop = await openFlowShop(options, (close) => void closers.push(close))
  })
  afterAll(async () => {
    for (const close of closers.toReversed()) await close()
  })
  return () => shop!
}

/** The whole service in this process: API, workers, a simulated provider and the shared Redis; closed with the test. */
export async function openFlowShop(
  options: FlowShopOptions = {},
  closeWith: (close: () => Promise<void>) => void = onTestFinished,
) {
  const simulator = createSimulator({ seed: 1, latency: 0, ...options.simulator } as SimulatorOptions)
  const base = await simulator.listen()
  closeWith(() => simulator.close())
  const place = testRedis()
  const folder = await mkdtemp(join(tmpdir(), 'sluice-flows-'))
  closeWith(() => rm(folder, { recursive: true, force: true }))
  const text = `
redis: ${JSON.stringify(toConfig(place))}
server: { port: 0 }
worker: { spool: "${folder}" }
${testEncryption}
providers:
  sim:
    kind: openai-compatible
    base_url: ${base}
    api_key: a-key-for-tests
    limits: ${options.limits ?? '{ max_concurrency: 64 }'}
    retry: { base: 10ms, cap: 20ms, max_attempts: 2 }
    models:
      chat: { price: { input: 1, output: 2 } }
      embed: { price: { input: 1 } }
tenants:
  acme: { keys: ["${KEY}"], limits: { ${options.tenant ?? ''} } }
  other: { keys: ["${OTHER}"] }
${options.extra ?? ''}
`
  const config = createLiveConfig(loadConfig({ path: '/somewhere/sluice.yaml', env: {}, text }))
  const lines: object[] = []
  const log = pino({ level: 'debug' }, { write: (line) => lines.push(JSON.parse(line)) })
  const deps = { config, log, version: '0.0.0-test' }
  const api = await openApi(deps)
  closeWith(() => api.close())
  const workers: Service[] = []
  for (let at = 0; at < (options.workers ?? 1); at++) workers.push(await openWorker(deps))
  closeWith(async () => {
    for (const worker of workers) await worker.close()
  })
  const redis = createRedis({
    ...toConfig(place),
    role: 'commands',
    name: 'test',
    onError: () => {},
  } as never)
  closeWith(() => closeRedis(redis))

  async function call<Body = FlowView>(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<Reply<Body>> {
    const response = await fetch(`${api.url}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${KEY}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    })
    const answer = await response.text()
    return { status: response.status, headers: response.headers, body: JSON.parse(answer || '{}') as Body }
  }

  async function create(flow: object): Promise<FlowView> {
    const { status, body } = await call('POST', '/v1/flows', { name: 'test', ...flow })
    expect(status, JSON.stringify(body)).toBe(202)
    return body
  }

  /** Follows the flow's events until it ends, or one of them matches; answers the flow then. */
  async function until(
    id: string,
    isEnough: (event: FlowEventRead) => boolean = () => false,
  ): Promise<FlowView> {
    for await (const event of follow(id)) if (isEnough(event)) break
    return (await call('GET', `/v1/flows/${id}`)).body
  }

  async function* follow(id: string, after?: string): AsyncGenerator<FlowEventRead> {
    const abort = new AbortController()
    try {
      const response = await fetch(`${api.url}/v1/flows/${id}/events`, {
        headers: {
          authorization: `Bearer ${KEY}`,
          ...(after === undefined ? {} : { 'last-event-id': after }),
        },
        signal: abort.signal,
      })
      expect([200, 204]).toContain(response.status)
      let text = ''
      for await (const chunk of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
        text += chunk
        const parts = text.split('\n\n')
        text = parts.pop()!
        for (const part of parts) yield readEvent(part)
      }
    } finally {
      abort.abort()
    }
  }

  return {
    api,
    call,
    create,
    until,
    follow,
    config,
    deps,
    workers,
    lines,
    simulator,
    redis,
    prefix: place.prefix,
    /** Creates a flow and answers its final state. */
    run: async (flow: object) => until((await create(flow)).id),
    job: async (id: string) => (await call<Job>('GET', `/v1/jobs/${id}`)).body,
    calls: () => simulator.calls(),
  }
}

export type FlowEventRead = {
  id: string
  event: string
  data: { seq: number; step?: string; flow?: FlowView } & Record<string, unknown>
}

function readEvent(text: string): FlowEventRead {
  const fields = Object.fromEntries(
    text
      .split('\n')
      .filter((line) => line.includes(': '))
      .map((line) => [line.slice(0, line.indexOf(': ')), line.slice(line.indexOf(': ') + 2)]),
  )
  return { id: fields.id!, event: fields.event!, data: JSON.parse(fields.data!) }
}
