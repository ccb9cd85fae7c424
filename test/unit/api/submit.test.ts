import { describe, expect, it } from 'vitest'
import { ApiError } from '../../../api/errors.ts'
import { createJobSchema } from '../../../api/jobs/create-schema.ts'
import { type SubmitDeps, toNewJob } from '../../../api/jobs/submit.ts'
import { modelNotFound } from '../../../api/openai/missing-model.ts'
import type { Lane } from '../../../config/lanes.ts'
import type { Tenant } from '../../../config/tenants.ts'

const now = Date.parse('2026-11-23T12:00:00.000Z')
const tenant: Tenant = {
  name: 'acme',
  scopes: ['jobs', 'read'],
  key: null,
  weight: 1,
  budgetRules: { unknownPrice: 'allow', operationsUrl: null },
  limits: { max_queued: 7 },
}
const lane: Lane = {
  id: 'openai/small',
  provider: 'openai',
  model: 'small',
  kind: 'openai',
  onUnsupported: 'refuse',
  limits: { tokens_per_minute: 6000, output_tokens_per_minute: 600, window: 10_000, headroom: 0.99 },
  timeout: 90_000,
  retry: { max_attempts: 4, base: 500, cap: 60_000 },
  price: { input: 1, output: 2 },
  coalesce: null,
}
const deps: SubmitDeps = {
  now: () => now,
  submission: {
    resolveModel: (model) => (model === 'fast' ? { lanes: [lane] } : null),
    listModels: () => ['sim/chat', 'fast'],
    batchTurnaround: () => null,
    hasTenants: () => true,
    estimateCost: (_lane, _type, body) => ({
      tokens: Number(body.tokens ?? 10),
      inputTokens: 10,
      outputTokens: Number(body.output ?? 0),
      inputs: 1,
      coalesceKey: null,
    }),
    checkWebhookUrl: (url) =>
      url.includes('10.0.0.1') ? { ok: false, reason: 'is not public' } : { ok: true },
  },
}

function submit(members: Record<string, unknown> = {}, body: Record<string, unknown> = {}) {
  const create = createJobSchema.parse({
    type: 'chat',
    body: { model: 'fast', messages: [{ role: 'user' }], ...body },
    ...members,
  })
  return toNewJob(tenant, create, 'key', deps)
}

function refusal(members: Record<string, unknown>, body?: Record<string, unknown>) {
  try {
    submit(members, body)
  } catch (error) {
    if (error instanceof ApiError) return { code: error.code, param: error.param, message: error.message }
    throw error
  }
  throw new Error('it was taken')
}

describe('a new job', () => {
  it('takes its defaults from the lane and the tenant', () => {
    expect(submit()).toMatchObject({
      tenant: 'acme',
      type: 'chat',
      model: 'fast',
      lane: 'openai/small',
      priority: 'normal',
      runAt: null,
      deadline: null,
      timeoutMs: 90_000,
      maxAttempts: 4,
      cache: 'use',
      webhook: null,
      group: null,
      metadata: {},
      idempotencyKey: 'key',
      limits: { maxQueued: 7, requestsPerMinute: null, budgetUsdPerDay: null },
    })
  })

  it('passes its body through, unknown members and all', () => {
    const body = { tomorrow: { nested: [1, null] }, temperature: 0.5 }
    expect(submit({}, body).body).toEqual({ model: 'fast', messages: [{ role: 'user' }], ...body })
  })

  it('runs later by delay or by time, and at once if that is past', () => {
    expect(submit({ delay_ms: 1500 })).toMatchObject({ runAt: null, delayMs: 1500 })
    expect(submit({ run_at: '2026-11-23T14:00:00+01:00' }).runAt).toBe(now + 3_600_000)
    // Redis decides whether it has passed.
    expect(submit({ run_at: '2026-11-23T11:00:00Z' }).runAt).toBe(now - 3_600_000)
    expect(submit({ delay_ms: 0, run_at: '2026-11-23T13:00:00Z' }).runAt).toBe(now + 3_600_000)
  })

  it('may not have both a delay and a time', () => {
    expect(refusal({ delay_ms: 1, run_at: '2026-11-23T13:00:00Z' })).toMatchObject({
      code: 'invalid_request',
      param: 'run_at',
    })
  })

  it('may not have a deadline that is past, or before it may start', () => {
    expect(refusal({ deadline: '2026-11-23T12:00:00Z' }).code).toBe('deadline_unreachable')
    expect(refusal({ deadline: '2026-11-23T12:30:00Z', delay_ms: 3_600_000 }).code).toBe(
      'deadline_unreachable',
    )
    expect(submit({ deadline: '2026-11-23T12:30:00Z' }).deadline).toBe(now + 1_800_000)
  })

  it('names the model that nobody serves', () => {
    const refused = refusal({}, { model: 'openai/nope' })
    expect(refused).toMatchObject({ code: 'model_not_found', param: 'body.model' })
    expect(refused.message).toContain('openai/nope')
  })

  it.each([
    ['chat', '"sim/chat"'],
    ['Sim/Chat', '"sim/chat"'],
    ['sim/chta', '"sim/chat"'],
    ['fasst', '"fast"'],
    ['other/chat-2', null],
  ])('suggests for %s what was meant', (model, near) => {
    const { message } = refusal({}, { model })
    expect(message).toContain('GET /v1/models')
    if (near === null) expect(message).not.toContain('did you mean')
    else expect(message).toContain(`did you mean ${near}?`)
  })

  it('names at most three lanes that serve a model of that name, and cuts a long name', () => {
    const lanes = ['a', 'b', 'c', 'd'].map((provider) => `${provider}/meta/llama`)
    expect(modelNotFound('meta/llama', lanes, 'body.model').message).toContain(
      'did you mean "a/meta/llama" or "b/meta/llama" or "c/meta/llama"?',
    )
    expect(modelNotFound('x'.repeat(10_000), lanes, 'model').message.length).toBeLessThan(400)
  })

  it('is refused when it needs more than a whole window of its lane', () => {
    expect(submit({}, { tokens: 1000 }).cost.tokens).toBe(1000)
    expect(refusal({}, { tokens: 1001 }).code).toBe('exceeds_limit')
    expect(refusal({}, { output: 101 }).message).toContain('output tokens')
  })

  it('announces every end if its webhook names none, and each end once', () => {
    expect(submit({ webhook: { url: 'https://a.example' } }).webhook?.events).toEqual([
      'job.completed',
      'job.failed',
      'job.cancelled',
    ])
    const events = ['job.failed', 'job.failed']
    expect(submit({ webhook: { url: 'https://a.example', events } }).webhook?.events).toEqual(['job.failed'])
  })

  it('names the webhook address that is not allowed', () => {
    expect(refusal({ webhook: { url: 'https://10.0.0.1' } })).toEqual({
      code: 'invalid_request',
      param: 'webhook.url',
      message: 'webhook.url: is not public',
    })
  })
})

describe('a create object', () => {
  const valid = (members: object, body: object = {}) =>
    createJobSchema.safeParse({ type: 'embedding', body: { model: 'm', input: 'x', ...body }, ...members })
      .success

  it('takes 16 pairs of metadata, keys to 64 and values to 512 characters', () => {
    const pairs = (count: number) =>
      Object.fromEntries(Array.from({ length: count }, (_, n) => [`k${n}`, 'v']))
    expect(valid({ metadata: pairs(16) })).toBe(true)
    expect(valid({ metadata: pairs(17) })).toBe(false)
    expect(valid({ metadata: { ['k'.repeat(64)]: 'v'.repeat(512) } })).toBe(true)
    expect(valid({ metadata: { ['k'.repeat(65)]: 'v' } })).toBe(false)
    expect(valid({ metadata: { k: 'v'.repeat(513) } })).toBe(false)
  })

  it('takes the inputs of embeddings in each of their forms', () => {
    for (const input of ['text', ['a', 'b'], [1, 2, 3], [[1], [2, 3]]])
      expect(valid({}, { input })).toBe(true)
    for (const input of ['', [], [''], [1, 'a'], [[]], [1.5], [-1], null, {}, 7]) {
      expect(valid({}, { input })).toBe(false)
    }
  })

  it('bounds attempts and time-outs', () => {
    expect(valid({ max_attempts: 100, timeout_ms: 3_600_000 })).toBe(true)
    for (const members of [
      { max_attempts: 0 },
      { max_attempts: 101 },
      { timeout_ms: 0 },
      { timeout_ms: 3_600_001 },
    ]) {
      expect(valid(members)).toBe(false)
    }
  })
})

describe('the cache of a new job', () => {
  const create = createJobSchema.parse({
    type: 'chat',
    body: { model: 'fast', messages: [{ role: 'user' }] },
  })
  type Options = { isTenantOff?: boolean; lanes?: ('off' | 'on')[]; asked?: 'use' | 'refresh' | 'off' }
  const submitWith = ({ isTenantOff = false, lanes = ['on'], asked }: Options) => {
    const made = lanes.map((one): Lane => (one === 'off' ? { ...lane, cache: 'off' } : lane))
    const from: Tenant = isTenantOff ? { ...tenant, cache: 'off' } : tenant
    return toNewJob(from, { ...create, cache: asked ?? null }, null, {
      ...deps,
      submission: { ...deps.submission, resolveModel: () => ({ lanes: made }) },
    })
  }

  it.each<[Options, string]>([
    [{}, 'use'],
    [{ asked: 'refresh' }, 'refresh'],
    [{ asked: 'off' }, 'off'],
    [{ isTenantOff: true }, 'off'],
    [{ isTenantOff: true, asked: 'refresh' }, 'off'],
    [{ lanes: ['off'] }, 'off'],
    // A route may reach its second lane.
    [{ lanes: ['on', 'off'] }, 'off'],
  ])('with %j is %s', (options, cache) => {
    expect(submitWith(options)).toMatchObject({ cache, askedCache: options.asked ?? 'use' })
  })

  it('is off for what acts or depends on state', () => {
    expect(submit({}, { tools: [{ type: 'mcp' }] })).toMatchObject({ cache: 'off', askedCache: 'use' })
  })
})
