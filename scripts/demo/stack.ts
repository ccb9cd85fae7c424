import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startEmbeddedRedis } from '../../embedded-redis/embedded-redis.ts'
import { createSimulator, type Simulator } from '../../simulator/simulator.ts'
import { startRole } from './processes.ts'

/** What the simulated provider of chats grants. */
export const chatLimits = { requests_per_minute: 1800, tokens_per_minute: 180_000 }
/** The limits of embeddings: few requests, so that it pays to let jobs travel together. */
export const embeddingLimits = { requests_per_minute: 120, tokens_per_minute: 1_000_000 }

/**
 * The providers refill their limits continuously, and let no more than this pile up: a burst of more than five
 * seconds' worth is answered 429. With a whole minute's worth, a run as short as this would never meet a limit.
 */
const WINDOW_MS = 5_000

/** USD a million tokens. */
export const prices = { chat: { input: 0.25, output: 2 }, embeddings: { input: 0.02, output: 0 } }

/** The noisy tenant and the quiet one. */
export const keys = { acme: 'acme-key-for-the-demo', birch: 'birch-key-for-the-demo' }

export type Stack = {
  /** Base URL of the API. */
  api: string
  chatProvider: Simulator
  embeddingProvider: Simulator
  /** Rejects when a process ends too early. */
  failed: Promise<never>
  close(): Promise<void>
}

/** Everything that a small installation has, on free ports and in a temporary folder, which is deleted at the end. */
export async function startStack(): Promise<Stack> {
  const closers: (() => Promise<unknown>)[] = []
  const close = async () => {
    for (const stop of closers.splice(0).reverse()) await stop()
  }
  try {
    const folder = await mkdtemp(join(tmpdir(), 'sluice-demo-'))
    closers.push(() => rm(folder, { recursive: true, force: true }))

    const redis = await startEmbeddedRedis({ directory: join(folder, 'redis') })
    closers.push(() => redis.close())

    const common = { enforcement: 'bucket', window: WINDOW_MS, latencyMs: 250, jitterMs: 250 } as const
    const chatProvider = createSimulator({ ...common, limits: chatLimits, outputTokens: 40, perTokenMs: 12 })
    const embeddingProvider = createSimulator({ ...common, limits: embeddingLimits, dimensions: 64 })
    closers.push(chatProvider.close, embeddingProvider.close)

    const configPath = join(folder, 'sluice.yaml')
    const config = writeConfig({
      redis: redis.url,
      chat: await chatProvider.listen(),
      embeddings: await embeddingProvider.listen(),
    })
    await writeFile(configPath, config)

    const roles = await Promise.allSettled(
      (['api', 'worker', 'worker'] as const).map((role) => startRole(role, configPath)),
    )
    const processes = roles.filter((role) => role.status === 'fulfilled').map((role) => role.value)
    closers.push(() => Promise.all(processes.map((one) => one.stop())))
    for (const role of roles) if (role.status === 'rejected') throw role.reason

    const api = processes.find((one) => one.url !== null)?.url
    if (!api) throw new Error('the API did not say where it listens')
    const failed = Promise.race(processes.map((one) => one.failed))
    failed.catch(() => {})
    return { api, chatProvider, embeddingProvider, failed, close }
  } catch (error) {
    await close()
    throw error
  }
}

function writeConfig(urls: { redis: string; chat: string; embeddings: string }): string {
  return `
server: { port: 0 }
redis: { url: "${urls.redis}" }
providers:
  chatty:
    kind: openai-compatible
    base_url: ${urls.chat}
    limits: ${JSON.stringify({ ...chatLimits, window: `${WINDOW_MS}ms`, max_concurrency: 64 })}
    retry: { max_attempts: 6, base: 300ms, cap: 5s }
    models:
      small: { price: ${JSON.stringify(prices.chat)} }
  embedder:
    kind: openai-compatible
    base_url: ${urls.embeddings}
    limits: ${JSON.stringify({ ...embeddingLimits, window: `${WINDOW_MS}ms`, max_concurrency: 8 })}
    models:
      small:
        price: ${JSON.stringify(prices.embeddings)}
        coalesce: { max_inputs: 256, max_tokens: 100000, max_wait: 20ms }
tenants:
  acme: { keys: [${keys.acme}] }
  birch: { keys: [${keys.birch}] }
`
}
