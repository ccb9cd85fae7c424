import { describe, expect, test } from 'vitest'
import type { Job } from '../../../../jobs/job.ts'
import { makeLoad } from '../../../../scripts/demo/load.ts'
import { renderReport } from '../../../../scripts/demo/report.ts'
import { measureLimit, type Observed, percentile, summarize } from '../../../../scripts/demo/summary.ts'
import { createSimulator } from '../../../../simulator/simulator.ts'

const refused = {
  code: 'invalid_request',
  message: 'Invalid input',
  provider_status: 400,
  retryable: false,
}

function makeJob(members: Partial<Job> = {}): Job {
  return {
    id: 'job_1',
    object: 'job',
    type: 'chat',
    status: 'completed',
    model: 'chatty/small',
    lane: 'chatty/small',
    group: null,
    fair_key: null,
    priority: 'normal',
    tier: 'standard',
    served_tier: null,
    metadata: {},
    created_at: '2026-11-23T10:00:00.000Z',
    run_at: null,
    started_at: '2026-11-23T10:00:01.000Z',
    finished_at: '2026-11-23T10:00:02.000Z',
    deadline: null,
    attempts: 1,
    max_attempts: 6,
    redrives: 0,
    next_attempt_at: null,
    estimated_start_at: null,
    waiting_for: null,
    cache: 'miss',
    result: {},
    usage: { input_tokens: 1_000_000, output_tokens: 0, total_tokens: 1_000_000 },
    usage_is_estimate: false,
    cost_usd: 0.25,
    dropped_members: [],
    cost_is_estimate: false,
    error: null,
    ...members,
  }
}

function observe(members: Partial<Observed> = {}): Observed {
  const idle = createSimulator()
  const provider = () => ({ state: idle.state(), calls: idle.calls() })
  return {
    chats: [makeJob()],
    embeddings: [
      makeJob({ type: 'embedding', status: 'failed', error: refused, usage: null, cost_usd: null }),
    ],
    streamed: [],
    chatProvider: provider(),
    embeddingProvider: provider(),
    ...members,
  }
}

describe('the closing table', () => {
  test('reports nothing in a run in which everything held', () => {
    expect(summarize(observe()).broken).toEqual([])
  })

  test('counts the savings of one call for several jobs as saved money', () => {
    const shared = makeJob({ cache: 'shared', cost_usd: 0 })
    const summary = summarize(observe({ chats: [makeJob(), shared, shared] }))
    expect(summary).toMatchObject({ shared: 2, costUsd: 0.25, costWithoutSharingUsd: 0.75 })
    expect(renderReport(summary)).toContain('instead of $0.7500 without sharing')
  })

  test('counts the wait from submission to the answer', () => {
    const slow = makeJob({ finished_at: '2026-11-23T10:00:09.000Z' })
    expect(summarize(observe({ chats: [makeJob(), slow] })).rows.chats).toMatchObject({
      waitP50: 2000,
      waitP95: 9000,
    })
  })
})

describe('a run in which something did not hold', () => {
  test('names a job that has not ended', () => {
    const open = makeJob({ status: 'running', finished_at: null })
    expect(summarize(observe({ chats: [open] })).broken).toEqual(['1 jobs have not ended, job_1 among them'])
  })

  test('names a job that failed without being meant to', () => {
    const failed = makeJob({ status: 'failed', error: { ...refused, message: 'out of luck' } })
    expect(summarize(observe({ chats: [failed] })).broken).toEqual([
      '1 jobs failed that should not have: job_1, out of luck',
    ])
  })

  test('counts a poisoned input that was not refused', () => {
    const broken = summarize(observe({ embeddings: [makeJob({ type: 'embedding' })] })).broken
    expect(broken).toEqual(['0 jobs were refused for their input, where one is poisoned'])
  })

  test('counts 429s, whether for the limit or for another reason', () => {
    const { chatProvider } = observe()
    chatProvider.state.by_path['/v1/chat/completions'] = { '200': 10, '429': 2 }
    expect(summarize(observe({ chatProvider })).broken).toEqual(['the providers answered 429 2 times'])
  })

  test('finds a prompt that was billed twice', () => {
    const { chatProvider } = observe()
    const call = {
      at: 0,
      path: '/v1/chat/completions',
      model: 'small',
      prompt_hash: 'a',
      tokens: 1,
      inputs: 1,
    }
    chatProvider.calls.push(call, call, { ...call, prompt_hash: 'b' })
    expect(summarize(observe({ chatProvider })).broken).toEqual(['1 prompts are on the bill twice'])
  })
})

test('the share of the limit is taken over the full seconds between the first and the last busy one', () => {
  const entry = (second: number, requests: number) => ({
    second,
    requests,
    tokens: requests * 50,
    rejected: 0,
  })
  const timeline = [
    entry(9, 2),
    entry(10, 20),
    entry(11, 30),
    entry(12, 27),
    entry(14, 30),
    entry(15, 16),
    entry(16, 3),
  ]
  // Seconds 11 to 14, of which 13 saw nothing: 87 of 120.
  expect(measureLimit(timeline)).toEqual({ seconds: 4, requests: 87 / 120, tokens: (87 * 50) / (4 * 3000) })
})

test('a run that was never busy says nothing about the limit', () => {
  expect(measureLimit([])).toEqual({ seconds: 0, requests: 0, tokens: 0 })
  expect(renderReport(summarize(observe()))).not.toContain('limit used')
})

test('percentiles are values that occurred', () => {
  expect([percentile([1, 2, 3, 4], 0.5), percentile([1, 2, 3, 4], 0.95), percentile([], 0.5)]).toEqual([
    2, 4, 0,
  ])
})

test('the load has repetitions, failures at first, and one poisoned text', () => {
  const { chats, repeats, embeddings, flaky } = makeLoad(0.1)
  const texts = chats.map((job) => JSON.stringify(job.body))
  expect(texts.length - new Set(texts).size).toBeGreaterThan(20)
  expect(new Set(texts.filter((text) => text.includes('[[fault:500:times=2]]'))).size).toBe(flaky)
  expect(repeats.every((job) => chats.includes(job))).toBe(true)
  expect(embeddings.filter((job) => JSON.stringify(job.body).includes('[[poison]]'))).toHaveLength(1)
})
