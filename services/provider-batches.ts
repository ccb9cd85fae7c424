import type { Dispatcher } from 'undici'
import { type Lane, resolveLane } from '../config/lanes.ts'
import type { Config } from '../config/schema.ts'
import { type BatchSettings, batchDefaults } from '../config/tier-schema.ts'
import type { EmbeddingCache } from '../jobs/embedding-cache.ts'
import { createIds } from '../lib/job-id.ts'
import type { ProxySettings } from '../lib/proxy.ts'
import type { Usage } from '../lib/usage.ts'
import { providerBatchChannel } from '../provider-batches/keys.ts'
import { createBatchApi } from '../provider-batches/providers/create-api.ts'
import type { BatchLane, ProviderBatchDeps, ProviderBatchEvent } from '../provider-batches/runner/deps.ts'
import { startProviderBatchRunner } from '../provider-batches/runner/runner.ts'
import { priceUsage } from '../providers/accounting.ts'
import { createBatchLines } from '../providers/batch-lines.ts'
import { createAgent } from '../providers/connections.ts'
import { findSettings, type ProviderSettings } from '../providers/registry.ts'
import type { Gate } from '../ratelimit/gate.ts'
import type { ProviderBatchMetric } from '../telemetry/provider-batch-metrics.ts'
import type { CallStore } from '../workers/call-store.ts'
import { createDeliver } from '../workers/deliver.ts'
import { createKeep } from '../workers/persist.ts'
import { prepareCall } from '../workers/provider-call.ts'
import type { Closers } from './closers.ts'
import type { MeteredDeps, openStore } from './store.ts'
import type { Traces } from './tracing.ts'

/** Results that stop coming for this long are read again, ms. Otherwise their batch would wait for ever. */
const SILENCE_MS = 5 * 60_000

/** Opens the gathering of jobs into provider batches, and the runner of these. */
export function openProviderBatches(
  deps: MeteredDeps,
  store: ReturnType<typeof openStore>,
  parts: {
    callStore: CallStore
    proxy: ProxySettings | null
    traces: Pick<Traces, 'providerBatch'>
  },
  closers: Closers,
): void {
  const { config, log } = deps
  const { onError, now } = store
  const dispatcher = createAgent(parts.proxy, SILENCE_MS)
  closers.add('the connections for provider batches', () => dispatcher.close())
  const giveUp = new AbortController()

  const runner = startProviderBatchRunner({
    ...createLineDeps({ store: parts.callStore, onError, signal: giveUp.signal }),
    store: store.providerBatches,
    work: parts.callStore.work,
    laneOf(id) {
      const lane = resolveLane(config.current(), id)
      if (!lane) return null
      const parts = { config: config.current(), gate: store.gate, dispatcher, now }
      return openBatchLane(parts, lane, lane.tiers?.batch ?? null)
    },
    async areOver(jobs) {
      const byTenant = Map.groupBy(jobs, ({ tenant }) => tenant)
      const statuses = new Map<string, string | null>()
      for (const [tenant, some] of byTenant) {
        const ids = some.map(({ job }) => job)
        for (const [at, status] of (await store.jobs.statuses(tenant, ids)).entries()) {
          statuses.set(`${tenant} ${ids[at]}`, status)
        }
      }
      return jobs.map(({ tenant, job }) => statuses.get(`${tenant} ${job}`) !== 'running')
    },
    newId: createIds('pbatch_', now),
    now,
    onError,
    onEvent: (event) => {
      countEvent(deps.metrics.providerBatches.onEvent, event)
      logEvent(log, event)
      if (event.kind === 'ended') parts.traces.providerBatch?.(event.batch)
    },
  })
  closers.add('the provider batches', async () => {
    giveUp.abort()
    await runner.stop()
  })
  store.pubsub.keepListening(providerBatchChannel(store.prefix), runner.wake)
}

/** A lane with batches; `tier` null: they are turned off. With the key of its provider or of one of its sources. */
function openBatchLane(
  deps: { config: Config; gate: Pick<Gate, 'read'>; dispatcher: Dispatcher; now: () => number },
  lane: Lane,
  tier: BatchSettings | null,
): BatchLane {
  const { config, dispatcher, now } = deps
  const { provider, sources = [] } = lane
  const open = (settings: ProviderSettings, model: string): BatchLane => ({
    lane: { ...lane, model },
    tier: tier ?? batchDefaults,
    isClosed: tier === null,
    api: createBatchApi(settings, dispatcher),
    lines: createBatchLines(provider, settings, now),
    by(name) {
      const source = sources.find((one) => one.name === name)
      const at = findSettings(config, provider, { model: lane.model, source: name })
      return source === undefined || at === undefined ? null : open(at, source.model)
    },
    async chooseSource() {
      if (sources.length === 0) return null
      const state = await deps.gate.read(lane)
      const sound = sources.filter((_, index) => state.sources[index]!.shut === null)
      return pickByWeight(sound.length === 0 ? sources : sound).name
    },
  })
  return open(config.providers[provider]!, lane.model)
}

function pickByWeight<One extends { weight: number }>(all: readonly One[]): One {
  let left = Math.random() * all.reduce((sum, { weight }) => sum + weight, 0)
  for (const one of all) {
    left -= one.weight
    if (left < 0) return one
  }
  return all[0]!
}

/** Builds the request of a line and stores its answer, like those of a call. */
function createLineDeps(deps: {
  store: CallStore
  onError: (error: unknown, what: string) => void
  signal: AbortSignal
}): Pick<ProviderBatchDeps, 'prepare'> {
  const { store, onError } = deps
  // The cached values at the time of the answer must be those at the time of the request: none.
  const withoutKnown: EmbeddingCache = {
    ...store.embeddingCache,
    get: async (_tenant, hashes) => hashes.map(() => null),
  }
  const deliver = createDeliver({
    queue: { acknowledge: async () => {} },
    store,
    onError,
    keep: createKeep(deps.signal, onError),
  })
  return {
    async prepare(lane, job) {
      const call = await prepareCall(lane, [job], {
        embeddingCache: withoutKnown,
        files: store.files,
        onError,
      })
      return {
        body: call.body ?? job.claimed.body,
        async deliver(answer, end) {
          const results = call.split(answer).map((one) => ({ ...one, servedTier: 'batch' }))
          const costUsd = await deliver(lane, results, end)
          const calls = results.reduce((sum, { usage }) => sum + priceOf(lane, usage), 0)
          return { costUsd, savedUsd: Math.max(0, calls - costUsd) }
        },
      }
    },
  }
}

/** The cost of the same usage as a call, USD; 0 if unknown. */
function priceOf({ price }: Lane, usage: Usage | null): number {
  return price === null || usage === null ? 0 : priceUsage(price, usage)
}

function countEvent(count: (metric: ProviderBatchMetric) => void, event: ProviderBatchEvent): void {
  if (event.kind === 'line') count(event)
  if (event.kind !== 'ended') return
  const { lane, outcome, createdAt, endedAt } = event.batch
  count({ kind: 'ended', lane, outcome: outcome ?? 'lost', durationMs: (endedAt ?? createdAt) - createdAt })
}

/** Logs each step of a batch, without requests and answers. */
function logEvent(log: MeteredDeps['log'], event: ProviderBatchEvent): void {
  if (event.kind === 'line') return
  const { id, lane, providerId, lines, counts, outcome, savedUsd, error } = event.batch
  const line = { provider_batch: id, lane, provider_id: providerId }
  switch (event.kind) {
    case 'created':
      log.info({ ...line, lines }, 'provider batch created')
      break
    case 'found':
      log.info({ ...line, provider_id: event.providerId }, 'provider batch found again')
      break
    case 'refused':
      log[event.isForLater ? 'info' : 'warn']({ ...line, reason: event.reason }, 'provider batch refused')
      break
    case 'cancelling':
      log.info({ ...line, reason: event.reason }, 'provider batch cancelled')
      break
    case 'ended':
      log.info({ ...line, outcome, ...counts, saved_usd: savedUsd, error }, 'provider batch ended')
  }
}
