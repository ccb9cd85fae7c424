import { expect, onTestFinished, test } from 'vitest'
import { configSchema } from '../../../config/schema.ts'
import type { Claimed } from '../../../jobs/claim.ts'
import type { JsonObject } from '../../../lib/json.ts'
import type { ProviderAnswer } from '../../../providers/provider.ts'
import { openTracing } from '../../../telemetry/tracing.ts'
import { createCallTracer } from '../../../telemetry/tracing-calls.ts'
import { type ReceivedSpan, startOtlpReceiver } from '../../helpers/otlp.ts'
import { newTrace } from './house.ts'

const base = { api_key: 'key', models: { m: {} } }
const config = configSchema.parse({
  providers: {
    ours: { kind: 'openai', ...base },
    azure: { kind: 'azure-openai', ...base, base_url: 'https://one.openai.azure.com:8443/openai/v1' },
    claude: { kind: 'anthropic', ...base },
    google: { kind: 'gemini', ...base },
    local: { kind: 'openai-compatible', ...base, base_url: 'http://127.0.0.1:11434/v1' },
  },
})
const success: ProviderAnswer = { ok: true, status: 200, body: {}, usage: null, feedback: {} }

type Told = { lane?: string; claimed?: Partial<Claimed>[]; answer?: ProviderAnswer; body?: JsonObject }

/** The spans of the calls. */
async function tell(calls: Told[]): Promise<ReceivedSpan[]> {
  const receiver = await startOtlpReceiver()
  onTestFinished(() => receiver.close())
  const tracing = await openTracing({
    settings: { ...config.tracing, endpoint: receiver.url },
    version: '0.0.0-test',
    role: 'worker',
    instance: 'one',
    log: { warn: (line: object) => expect.fail(JSON.stringify(line)) },
    now: Date.now,
  })
  const onCall = createCallTracer({ tracing, config: () => config, open: new WeakMap() })
  for (const { lane = 'ours/m', claimed = [{}], answer = success, body = {} } of calls) {
    const jobs = claimed.map((one) => ({ type: 'chat', call: 1, trace: null, ...one }) as Claimed)
    onCall({
      lane,
      claimed: jobs,
      answer,
      body,
      startedAt: 1_790_000_000_000,
      latencyMs: 250,
      outcome: 'any',
    })
  }
  await tracing.close()
  return receiver.spans
}

test('providers have the names of the conventions, or their own where there is none', async () => {
  const lanes = ['ours/m', 'azure/m', 'claude/m', 'google/m', 'local/m', 'gone/m']
  const spans = await tell(lanes.map((lane) => ({ lane })))
  expect(
    spans.map(({ attributes }) =>
      ['gen_ai.provider.name', 'server.address', 'server.port'].map((name) => attributes[name]),
    ),
  ).toEqual([
    ['openai', 'api.openai.com', 443],
    ['azure.ai.openai', 'one.openai.azure.com', 8443],
    ['anthropic', 'api.anthropic.com', 443],
    ['gcp.gemini', 'generativelanguage.googleapis.com', 443],
    ['local', '127.0.0.1', 11434],
    ['gone', undefined, undefined],
  ])
})

test('a call has its own time and the settings of its request', async () => {
  const body = { stream: true, max_completion_tokens: 64, temperature: 0.5, top_p: 'high' }
  const [span] = await tell([{ body, claimed: [{ call: 3 }] }])
  expect([span!.startedAt, span!.endedAt]).toEqual([1_790_000_000_000_000_000n, 1_790_000_000_250_000_000n])
  expect(span!.attributes).toMatchObject({
    'gen_ai.request.stream': true,
    'gen_ai.request.max_tokens': 64,
    'gen_ai.request.temperature': 0.5,
    'sluice.attempt': 3,
  })
  expect(span!.attributes).not.toHaveProperty('gen_ai.request.top_p')
})

test('an answer says why it ended, in every shape', async () => {
  const bodies: JsonObject[] = [
    { choices: [{ finish_reason: 'stop' }, { finish_reason: 'length' }, null] },
    { status: 'completed' },
    { status: 'incomplete', incomplete_details: { reason: 'max_output_tokens' } },
    { data: [] },
  ]
  const spans = await tell(bodies.map((body) => ({ answer: { ...success, body } })))
  expect(spans.map(({ attributes }) => attributes['gen_ai.response.finish_reasons'])).toEqual([
    ['stop', 'length'],
    ['completed'],
    ['max_output_tokens'],
    undefined,
  ])
})

test('a failure is a code, and whether its outcome is known', async () => {
  const answer: ProviderAnswer = {
    ok: false,
    class: 'timeout',
    code: 'timeout',
    message: 'canary: for people',
    status: null,
    ambiguous: true,
    input: false,
    feedback: {},
  }
  const [span] = await tell([{ answer }])
  expect(span).toMatchObject({
    isError: true,
    attributes: { 'error.type': 'timeout', 'sluice.ambiguous': true },
  })
  expect(JSON.stringify(Object.entries(span!.attributes))).not.toContain('canary')
})

test('a call that jobs share is a part of a trace that is recorded', async () => {
  const [unsampled, first, second] = [newTrace('00'), newTrace(), newTrace()]
  const claimed = [unsampled, first, second].map(({ headers }) => ({ trace: headers.traceparent }))
  const [span] = await tell([{ claimed }])
  expect(span).toMatchObject({
    traceId: first.id,
    parentSpanId: first.span,
    links: [unsampled.span, second.span],
  })
})
