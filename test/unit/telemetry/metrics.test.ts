import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { createMetrics } from '../../../telemetry/metrics.ts'
import type { LaneReading, StoreReading } from '../../../telemetry/store-reading.ts'
import { describeRegistry, fillMetrics, parseSamples, readMetricsTable } from '../../helpers/metrics.ts'

const page = readFileSync(new URL('../../../docs/metrics.md', import.meta.url), 'utf8')

const lane: LaneReading = {
  id: 'sim/chat',
  backlog: { waiting: 3, delayed: 2, held: 1 },
  inFlight: 1,
  levels: { requests: -0.5, tokens: null },
  rates: { requests: 10, tokens: null },
  utilisation: 0.25,
  speed: 1,
  isPaused: true,
  isBroken: false,
  concurrency: 64,
  forecastMs: 1500,
  tiers: [{ name: 'flex', isShut: true }],
  sources: [{ name: 'eu', inFlight: 1, utilisation: 0.5, speed: 1, isPaused: false, isShut: true }],
  heldBackBy: 'family',
}
const reading: StoreReading = {
  jobs: [{ tenant: 'acme', status: 'queued', count: 3 }],
  parked: [{ tenant: 'acme', count: 2 }],
  lanes: [lane],
  sharedLimits: [
    {
      provider: 'sim',
      name: 'family',
      inFlight: 3,
      utilisation: 0.9,
      speed: 0.5,
      isPaused: true,
    },
  ],
  budgets: [
    { tenant: 'acme', owner: 'key', per: 'week', limitUsd: 4, spentUsd: 2, reservedUsd: 1, usedShare: 0.75 },
  ],
  history: null,
  webhooks: { pending: 2, lateMs: 4000 },
  memory: { used: 0.5, limit: 0.7 },
}
const call = {
  lane: 'sim/chat',
  type: 'chat',
  outcome: 'completed',
  status: 200,
  waitedMs: [20],
  inputs: 1,
  latencyMs: 300,
  firstChunkMs: 40,
}

function open(options: { now?: () => number; ofProcess?: boolean } = {}) {
  const metrics = createMetrics({ version: '1.2.3', now: () => 0, ofProcess: false, ...options })
  onTestFinished(() => metrics.close())
  return metrics
}

describe('docs/metrics.md', () => {
  test('lists every metric there is with its type, its labels and what it says, and no other', async () => {
    const metrics = open({ ofProcess: true })
    fillMetrics(metrics)
    const found = describeRegistry((await metrics.render()).text)
    const listed = readMetricsTable(page)
    const own = (rows: { name: string }[]) => rows.filter(({ name }) => name.startsWith('sluice_'))
    const byName = (a: { name: string }, b: { name: string }) => (a.name < b.name ? -1 : 1)
    expect(own(listed).toSorted(byName)).toEqual(own(found).toSorted(byName))
    // About the process itself the library reports what the platform has.
    const names = listed.map(({ name }) => name)
    expect(found.map(({ name }) => name).filter((name) => !names.includes(name))).toEqual([])
  })

  test('every metric is named by its unit, and counters by _total', async () => {
    const metrics = open()
    fillMetrics(metrics)
    for (const { name, type } of describeRegistry((await metrics.render()).text)) {
      expect(name).toMatch(/^sluice_[a-z0-9_]+$/)
      expect(name.endsWith('_total'), name).toBe(type === 'counter')
      if (type === 'histogram') expect(name).toMatch(/_seconds$/)
      expect(name).not.toMatch(/_ms|milli|minute/)
    }
  })
})

test('a scrape shows what happened', async () => {
  const metrics = open()
  metrics.work.onCall(call)
  metrics.work.onCall({
    ...call,
    outcome: 'throttled',
    status: 429,
    firstChunkMs: null,
    waitedMs: [0, 10],
  })
  const job = { tenant: 'acme', lane: 'sim/chat', type: 'chat' }
  const usage = { input_tokens: 5, output_tokens: 7 }
  metrics.work.onWork({ kind: 'ended', ...job, status: 'completed', source: 'call', usage, costUsd: 0.25 })
  metrics.work.onWork({ kind: 'ended', ...job, status: 'completed', source: 'shared', usage, costUsd: 0.25 })
  metrics.work.onWork({ kind: 'retried', ...job, reason: 'throttled' })
  const samples = parseSamples((await metrics.render()).text)
  const value = (name: string, labels: Record<string, string> = {}) =>
    samples.find(
      (one) => one.name === name && Object.keys(labels).every((key) => one.labels[key] === labels[key]),
    )?.value
  expect(value('sluice_provider_calls_total', { outcome: 'throttled', status: '429' })).toBe(1)
  expect(value('sluice_provider_call_jobs_total')).toBe(3)
  expect(value('sluice_job_wait_seconds_count')).toBe(3)
  expect(value('sluice_job_wait_seconds_sum')).toBeCloseTo(0.03)
  expect(value('sluice_provider_first_token_seconds_count')).toBe(1)
  expect(value('sluice_provider_call_duration_seconds_bucket', { le: '0.5' })).toBe(2)
  // The job that shared the call costs nothing.
  expect(value('sluice_tokens_total', { direction: 'output' })).toBe(7)
  expect(value('sluice_cost_usd_total', { tenant: 'acme' })).toBe(0.25)
  expect(value('sluice_jobs_ended_total', { source: 'shared' })).toBe(1)
  expect(value('sluice_job_retries_total', { reason: 'throttled' })).toBe(1)
})

test('however many lanes and tenants there are, the series are bounded, and all beyond the bound share one', async () => {
  const metrics = open()
  for (let index = 0; index < 1000; index++) metrics.work.onCall({ ...call, lane: `any/model-${index}` })
  metrics.name({ lanes: new Set(['any/configured']), tenants: new Set() })
  metrics.work.onCall({ ...call, lane: 'any/configured' })
  const samples = parseSamples((await metrics.render()).text)
  const calls = samples.filter(({ name }) => name === 'sluice_provider_calls_total')
  expect(calls).toHaveLength(202)
  expect(calls.find(({ labels }) => labels.lane === 'other')?.value).toBe(800)
  expect(calls.find(({ labels }) => labels.lane === 'any/configured')?.value).toBe(1)
  for (const route of ['/v1/jobs', null]) {
    metrics.http.onAnswer({ method: 'BREW', route, status: 404, ms: 1 })
    metrics.http.onAnswer({ method: 'STEEP', route, status: 404, ms: 1 })
  }
  const requests = parseSamples((await metrics.render()).text).filter(
    ({ name }) => name === 'sluice_http_requests_total',
  )
  expect(requests.map(({ labels, value }) => [labels.method, labels.route, labels.status, value])).toEqual([
    ['other', '/v1/jobs', '4xx', 2],
    ['other', 'other', '4xx', 2],
  ])
})

test('text from outside cannot break a line of the metrics', async () => {
  const metrics = open()
  metrics.work.onCall({ ...call, lane: 'a"} 1\nsluice_store_up 1 #\\' })
  const { text } = await metrics.render()
  expect(parseSamples(text).filter(({ name }) => name === 'sluice_store_up')).toEqual([])
  expect(text).toContain('lane="a\\"} 1\\nsluice_store_up 1 #\\\\"')
})

describe('the state of the store', () => {
  const up = async (metrics: ReturnType<typeof open>) =>
    parseSamples((await metrics.render()).text).find(({ name }) => name === 'sluice_store_up')?.value

  test('is read once a second, however many scrape, and shown unchanged', async () => {
    let time = 0
    const metrics = open({ now: () => time })
    const read = vi.fn(async () => reading)
    metrics.watchStore(read)
    await Promise.all([metrics.render(), metrics.render()])
    await metrics.render()
    expect(read).toHaveBeenCalledTimes(1)
    time = 1000
    const samples = parseSamples((await metrics.render()).text)
    expect(read).toHaveBeenCalledTimes(2)
    const told = Object.fromEntries(
      samples
        .filter(({ name }) =>
          /^sluice_(?:jobs$|lane|budget|shared|source_|store|webhook(?:s_pending|_lag))/.test(name),
        )
        .map(({ name, labels, value }) => [[name, ...Object.values(labels)].join(' '), value]),
    )
    // Replaced, not added to the earlier values.
    expect(told).toEqual({
      sluice_store_up: 1,
      'sluice_jobs acme queued': 3,
      'sluice_lane_backlog sim/chat waiting': 3,
      'sluice_lane_backlog sim/chat delayed': 2,
      'sluice_lane_backlog sim/chat held': 1,
      'sluice_lane_in_flight sim/chat': 1,
      'sluice_lane_concurrency_limit sim/chat': 64,
      'sluice_lane_level sim/chat requests': -0.5,
      'sluice_lane_rate_per_second sim/chat requests': 10,
      'sluice_lane_utilisation_ratio sim/chat': 0.25,
      'sluice_lane_speed_ratio sim/chat': 1,
      'sluice_lane_held_back sim/chat family': 1,
      'sluice_budget_limit_usd acme key week': 4,
      'sluice_budget_spent_usd acme key week': 2,
      'sluice_budget_reserved_usd acme key week': 1,
      'sluice_budget_used_ratio acme key week': 0.75,
      'sluice_source_in_flight sim/chat eu': 1,
      'sluice_source_paused sim/chat eu': 0,
      'sluice_source_shut sim/chat eu': 1,
      'sluice_lane_tier_shut sim/chat flex': 1,
      'sluice_source_speed_ratio sim/chat eu': 1,
      'sluice_source_utilisation_ratio sim/chat eu': 0.5,
      'sluice_shared_limit_in_flight sim family': 3,
      'sluice_shared_limit_paused sim family': 1,
      'sluice_shared_limit_speed_ratio sim family': 0.5,
      'sluice_shared_limit_utilisation_ratio sim family': 0.9,
      'sluice_lane_paused sim/chat': 1,
      'sluice_lane_breaker_open sim/chat': 0,
      'sluice_lane_wait_forecast_seconds sim/chat': 1.5,
      sluice_webhooks_pending: 2,
      sluice_webhook_lag_seconds: 4,
      'sluice_store_memory_ratio used': 0.5,
      'sluice_store_memory_ratio limit': 0.7,
    })
  })

  test('of lanes beyond the bound is a sum where sums make sense', async () => {
    const metrics = open()
    const lanes = Array.from({ length: 210 }, (_, index) => ({ ...lane, id: `any/model-${index}` }))
    metrics.watchStore(async () => ({ ...reading, lanes }))
    const samples = parseSamples((await metrics.render()).text)
    const ofOthers = samples.filter(({ labels }) => labels.lane === 'other')
    expect(ofOthers.map(({ name, labels, value }) => [name, labels.state, value])).toEqual([
      ['sluice_lane_backlog', 'waiting', 30],
      ['sluice_lane_backlog', 'delayed', 20],
      ['sluice_lane_backlog', 'held', 10],
      ['sluice_lane_in_flight', undefined, 10],
    ])
  })

  test('is left out while it is unknown: sluice_store_up says so', async () => {
    let time = 0
    const metrics = open({ now: () => time })
    let answer = async () => reading
    metrics.watchStore(() => answer())
    expect(await up(metrics)).toBe(1)
    answer = async () => Promise.reject(new Error('away'))
    time = 1000
    const { text } = await metrics.render()
    expect(text).toContain('\nsluice_store_up 0\n')
    expect(text).not.toMatch(
      /^sluice_(?:jobs|lane_\w+|shared_\w+|source_\w+|webhooks_pending|webhook_lag_seconds|store_memory_ratio)[{ ]/m,
    )
    answer = async () => reading
    time = 2000
    expect((await metrics.render()).text).toContain('\nsluice_webhooks_pending 2\n')
  })

  test('is waited for no longer than 2 s', async () => {
    const metrics = open()
    const answer = Promise.withResolvers<StoreReading>()
    metrics.watchStore(() => answer.promise)
    const startedAt = performance.now()
    expect(await up(metrics)).toBe(0)
    expect(performance.now() - startedAt).toBeLessThan(10_000)
    answer.resolve(reading)
    await sleep(0)
    expect(await up(metrics)).toBe(1)
  })
})
