import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startEmbeddedRedis } from '../../embedded-redis/embedded-redis.ts'
import { createSimulator } from '../../simulator/simulator.ts'
import { startRole } from '../demo/processes.ts'

/** Keys of the tenants; the one of `ops` may see everything. */
export const keys = {
  acme: 'acme-key-for-the-pictures',
  birch: 'birch-key-for-the-pictures',
  cedar: 'cedar-key-for-the-pictures',
  ops: 'ops-key-for-the-pictures',
}

export type Keys = typeof keys

export type Stack = { url: string; close(): Promise<void> }

/** A small window, so that a minute shows how limits are used. */
const WINDOW_MS = 10_000

const limits = {
  openai: { requests_per_minute: 900, tokens_per_minute: 120_000 },
  anthropic: { requests_per_minute: 300, tokens_per_minute: 60_000 },
  mistral: { requests_per_minute: 240 },
}

/**
 * Everything on free ports and in a temporary folder. The providers are simulated, also those with real names.
 *
 * @param models of each provider, for special pictures; `openai` is slow then
 */
export async function startStack(
  models: Record<keyof typeof limits, string[]> | null = null,
): Promise<Stack> {
  const closers: (() => Promise<unknown>)[] = []
  const close = async () => {
    for (const stop of closers.splice(0).reverse()) await stop()
  }
  try {
    const folder = await mkdtemp(join(tmpdir(), 'sluice-screenshots-'))
    closers.push(() => rm(folder, { recursive: true, force: true }))
    const redis = await startEmbeddedRedis({ directory: join(folder, 'redis') })
    closers.push(() => redis.close())
    const urls: Record<string, string> = {}
    for (const name of Object.keys(limits)) {
      const simulator = createSimulator({
        window: WINDOW_MS,
        latencyMs: 400,
        jitterMs: 600,
        outputTokens: 120,
        perTokenMs: 35,
        dimensions: 64,
      })
      closers.push(simulator.close)
      urls[name] = await simulator.listen()
    }
    const path = join(folder, 'sluice.yaml')
    const spool = join(folder, 'spool')
    const config = describeConfig(redis.url, urls, spool, models ?? usualModels)
    await writeFile(path, models === null ? config : slowDown(config))
    const roles = await Promise.allSettled((['api', 'worker'] as const).map((role) => startRole(role, path)))
    const processes = roles.filter((role) => role.status === 'fulfilled').map((role) => role.value)
    closers.push(() => Promise.all(processes.map((one) => one.stop())))
    for (const role of roles) if (role.status === 'rejected') throw role.reason
    const url = processes.find((one) => one.url !== null)?.url
    if (!url) throw new Error('the API did not say where it listens')
    return { url, close }
  } catch (error) {
    await close()
    throw error
  }
}

const usualModels = {
  openai: ['gpt-5-mini', 'text-embedding-3-small'],
  anthropic: ['claude-haiku-4-5'],
  mistral: ['mistral-small'],
}

const prices: Record<string, object> = {
  'gpt-5-mini': { input: 0.25, output: 2 },
  'text-embedding-3-small': { input: 0.02 },
  'claude-haiku-4-5': { input: 1, output: 5 },
}
const usualPrice = { input: 0.1, output: 0.3 }

/** In a storm many jobs wait for a limit. */
function slowDown(config: string): string {
  return config.replace(
    JSON.stringify(limits.openai).slice(0, -1),
    '{"requests_per_minute":60,"tokens_per_minute":9000',
  )
}

function describeConfig(
  redis: string,
  urls: Record<string, string>,
  spool: string,
  models: Record<keyof typeof limits, string[]>,
): string {
  const provider = (name: keyof typeof limits, concurrency: number) => `
    kind: openai-compatible
    base_url: ${urls[name]}
    limits: ${JSON.stringify({ ...limits[name], window: `${WINDOW_MS}ms`, max_concurrency: concurrency })}
    retry: { max_attempts: 4, base: 800ms, cap: 4s }
    models: ${JSON.stringify(Object.fromEntries(models[name].map((model) => [model, { price: prices[model] ?? usualPrice }])))}`
  return `
server: { port: 0 }
redis: { url: "${redis}" }
worker: { spool: "${spool}" }
webhooks: { secret: whsec_dHJ5LW91dC1zZWNyZXQtbm90LWZvci1wcm9kdWN0aW9u, allow_private_addresses: true }
providers:
  openai:${provider('openai', 64)}
  anthropic:${provider('anthropic', 24)}
  mistral:${provider('mistral', 12)}
tenants:
  acme: { keys: [${keys.acme}], weight: 3, limits: { max_queued: 4000, budget_usd_per_day: 5 } }
  birch: { keys: [${keys.birch}], limits: { max_queued: 1000, budget_usd_per_day: 0.2 } }
  cedar: { keys: [${keys.cedar}], limits: { max_queued: 1000 } }
  ops: { keys: [${keys.ops}], admin: true }
`
}
