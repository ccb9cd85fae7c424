import type { Metrics } from '../../telemetry/metrics.ts'

/** A metric as docs/metrics.md has it, with its labels in alphabetical order. */
export type MetricRow = { name: string; type: string; labels: string[] }

export type Sample = { name: string; labels: Record<string, string>; value: number }

/** Gives every metric a value, with every label it can have. */
export function fillMetrics(metrics: Metrics): void {
  const job = { tenant: 't', lane: 'l', type: 'chat' }
  const usage = { input_tokens: 1, output_tokens: 1 }
  metrics.work.onCall({
    ...job,
    outcome: 'completed',
    status: 200,
    waitedMs: [1],
    inputs: 1,
    latencyMs: 1,
    firstChunkMs: 1,
  })
  metrics.work.onSourceShut({ lane: 'l', source: 's' })
  metrics.work.onWork({ kind: 'retried', ...job, reason: 'timeout' })
  metrics.work.onWork({
    kind: 'ended',
    ...job,
    status: 'completed',
    source: 'call',
    usage: { ...usage, cached_input_tokens: 1 },
    costUsd: 1,
    savedUsd: 1,
  })
  metrics.jobs.onSubmitted({ ...job, outcome: 'miss', isRefused: false })
  metrics.jobs.onSubmitted({ ...job, outcome: 'queue_full', isRefused: true })
  metrics.jobs.onIncident({ ...job, kind: 'lost' })
  metrics.http.onAnswer({ method: 'GET', route: '/', status: 200, ms: 1 })
  metrics.webhooks.onAttempt({ outcome: 'delivered', latencyMs: 1, delayMs: 1 })
  metrics.files.onOperation({ store: 's3', operation: 'write', hasFailed: false, ms: 1, bytes: 1 })
  metrics.flows.onProgress({ ended: 'completed', durationMs: 1, steps: ['completed'] })
  metrics.schedules.onSlot({ tenant: 't', outcome: 'created', lateMs: 1 })
  metrics.providerBatches.onEvent({ kind: 'line', lane: 'l', as: 'completed', savedUsd: 1 })
  metrics.providerBatches.onEvent({ kind: 'ended', lane: 'l', outcome: 'completed', durationMs: 1 })
  metrics.http.onSocket({ opened: true })
  metrics.http.onSocket({ closed: 1000 })
  metrics.http.onSocketMessage('in', 'subscribe')
  metrics.redis.meter('commands')
  metrics.history.onMoved(1)
  metrics.history.watch(() => true)
  metrics.upkeep.onFailure('retention')
  metrics.upkeep.onRun('retention', 1, false)
  metrics.upkeep.watchMaintainer(() => true)
  metrics.watchWorker({ isHealthy: () => true, spooled: async () => ({ waiting: 0, setAside: 0 }) })
  metrics.watchStore(async () => ({
    jobs: [{ tenant: 't', status: 'queued', count: 1 }],
    parked: [{ tenant: 't', count: 1 }],
    lanes: [
      {
        id: 'l',
        backlog: { waiting: 1, delayed: 1, held: 1 },
        inFlight: 1,
        concurrency: 1,
        levels: { requests: 1 },
        rates: { requests: 1 },
        utilisation: 1,
        speed: 1,
        isPaused: false,
        isBroken: false,
        forecastMs: 1,
        tiers: [{ name: 'flex', isShut: true }],
        sources: [{ name: 's', inFlight: 1, utilisation: 1, speed: 1, isPaused: false, isShut: true }],
        heldBackBy: 'f',
      },
    ],
    sharedLimits: [
      {
        provider: 'p',
        name: 'f',
        inFlight: 1,
        utilisation: 1,
        speed: 1,
        isPaused: false,
      },
    ],
    budgets: [
      { tenant: 't', owner: 'tenant', per: 'day', limitUsd: 1, spentUsd: 1, reservedUsd: 1, usedShare: 2 },
    ],
    webhooks: { pending: 1, lateMs: 1 },
    history: { waiting: 1, lateMs: 1 },
    memory: { used: 1, limit: 1 },
  }))
}

/** Reads the text format of Prometheus. */
export function parseSamples(text: string): Sample[] {
  return text
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => {
      const [, name, inner = '', value] = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/.exec(line) ?? []
      if (name === undefined || value === undefined) throw new Error(`no sample: ${line}`)
      const labels = [...inner.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, key, text]) => [key!, text!])
      return { name, labels: Object.fromEntries(labels), value: Number(value) }
    })
}

/** The metrics of a scrape in which each has samples. */
export function describeRegistry(text: string): MetricRow[] {
  const samples = parseSamples(text)
  return [...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name, type]) => {
    const names = type === 'histogram' ? [`${name}_bucket`, `${name}_sum`, `${name}_count`] : [name]
    const labels = samples.filter((one) => names.includes(one.name)).flatMap((one) => Object.keys(one.labels))
    return {
      name: name!,
      type: type!,
      labels: [...new Set(labels)].filter((label) => label !== 'le').sort(),
    }
  })
}

/** The rows of the tables in docs/metrics.md: name, type, labels. */
export function readMetricsTable(page: string): MetricRow[] {
  return [...page.matchAll(/^\| `([a-z_]+)` \| (\w+) \|([^|]*)\|/gm)].map(([, name, type, labels]) => ({
    name: name!,
    type: type!,
    labels: [...labels!.matchAll(/`(\w+)`/g)].map(([, label]) => label!).sort(),
  }))
}
