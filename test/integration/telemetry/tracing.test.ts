import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Job } from '../../../jobs/job.ts'
import { type OtlpReceiver, type ReceivedSpan, startOtlpReceiver } from '../../helpers/otlp.ts'
import { startReceiver } from '../webhooks/receiver.ts'
import { type House, newTrace, openHouse, providerKey, tenantKey, webhookSecret } from './house.ts'

const [INTERNAL, SERVER, CLIENT, PRODUCER, CONSUMER] = [1, 2, 3, 4, 5]
const prompt = 'canary-prompt-41fe'
const receiverKey = 'canary-receiver-key-77aa'

const chat = (text: string, members: object = {}) => ({
  type: 'chat',
  body: { model: 'sim/chat', messages: [{ role: 'user', content: `${prompt} ${text}` }] },
  ...members,
})
const embed = (text: string) => ({
  type: 'embedding',
  body: { model: 'sim/embed', input: `${prompt} ${text}` },
})

let receiver: OtlpReceiver
let hooks: Awaited<ReturnType<typeof startReceiver>>
const traces = {
  whole: newTrace(),
  retried: newTrace(),
  refused: newTrace(),
  hit: newTrace(),
  bulk: newTrace(),
  door: newTrace(),
  batch: newTrace(),
  flow: newTrace(),
  line: newTrace(),
  unsampled: newTrace('00'),
}
const together = [newTrace(), newTrace(), newTrace()]
let whole: Job
let tookMs: number

/** All that the tests below look at happens here, so that it is sent once. */
beforeAll(async () => {
  receiver = await startOtlpReceiver()
  hooks = await startReceiver()
  const house = await openHouse({
    tracing: { endpoint: receiver.url, headers: { 'x-receiver-key': receiverKey } },
  })
  const create = async (job: object, { headers }: { headers: Record<string, string> }) => {
    const response = await house.post('/v1/jobs', job, headers)
    return (await response.json()) as Job
  }
  const finish = async (job: object, trace: { headers: Record<string, string> }) =>
    house.get<Job>(`/v1/jobs/${(await create(job, trace)).id}?wait=20`)

  const webhook = { url: `${hooks.url}?token=canary-query-19bd` }
  whole = await finish(chat('whole', { webhook }), {
    headers: { ...traces.whole.headers, tracestate: 'vendor=one', 'x-request-id': 'request-of-mine' },
  })
  await hooks.got(1)
  await finish(chat('whole'), traces.hit)
  await finish(chat('[[fault:500:times=1]]'), traces.retried)
  await finish(chat('[[fault:400]]'), traces.refused)
  await finish(chat('unsampled'), traces.unsampled)
  await finish(chat('of nobody'), { headers: {} })
  const embeddings = await Promise.all(together.map((trace, index) => create(embed(`text ${index}`), trace)))
  for (const { id } of embeddings) await house.get(`/v1/jobs/${id}?wait=20`)
  await runBulk(house)
  await house.post('/v1/chat/completions', chat('at the door').body, traces.door.headers)
  await runBatch(house)
  await runFlow(house)
  const batched = { ...chat('of a batch at the provider'), tier: 'batch' }
  await finish({ ...batched, body: { ...batched.body, model: 'sim/batched' } }, traces.line)
  tookMs = await house.stop()
}, 60_000)

async function runFlow(house: House): Promise<void> {
  const steps = {
    one: { job: chat('step one') },
    two: { job: chat(`step two, \${{ steps.one.result.id }}`) },
  }
  const response = await house.post('/v1/flows', { name: 'traced', steps }, traces.flow.headers)
  const { id } = (await response.json()) as { id: string }
  // The stream ends with the flow.
  await fetch(`${house.url}/v1/flows/${id}/events`, { headers: house.headers }).then((events) =>
    events.text(),
  )
}

async function runBulk(house: House): Promise<void> {
  const response = await house.post(
    '/v1/jobs/bulk',
    [chat('one of two'), chat('two of two')],
    traces.bulk.headers,
  )
  for (const { id } of (await response.json()) as { id: string }[]) await house.get(`/v1/jobs/${id}?wait=20`)
}

async function runBatch(house: House): Promise<void> {
  const form = new FormData()
  form.set('purpose', 'batch')
  const line = { custom_id: 'a', method: 'POST', url: '/v1/chat/completions', body: chat('of a batch').body }
  form.set('file', new Blob([`${JSON.stringify(line)}\n`]), 'lines.jsonl')
  const file = (await (await house.post('/v1/files', form)).json()) as { id: string }
  const asked = { input_file_id: file.id, endpoint: '/v1/chat/completions', completion_window: '24h' }
  const batch = (await (await house.post('/v1/batches', asked, traces.batch.headers)).json()) as {
    id: string
  }
  for (let looks = 0; looks < 200; looks++) {
    const { status } = await house.get<{ status: string }>(`/v1/batches/${batch.id}`)
    if (status === 'completed') return
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  throw new Error('the batch did not end')
}

afterAll(async () => {
  await hooks?.close()
  await receiver?.close()
})

/** One line a span, below its parent. */
function draw(spans: ReceivedSpan[], parent: string, depth = 0): string[] {
  return spans
    .filter((span) => span.parentSpanId === parent)
    .sort((a, b) => (a.name < b.name ? 1 : -1))
    .flatMap((span) => [
      `${'  '.repeat(depth)}${span.kind} ${span.name}`,
      ...draw(spans, span.spanId, depth + 1),
    ])
}

const drawTrace = ({ id, span }: { id: string; span: string }) => draw(receiver.trace(id), span)
const find = ({ id }: { id: string }, kind: number) => receiver.trace(id).filter((span) => span.kind === kind)

describe('a job', () => {
  test('is one trace from the request of its caller to the provider and the webhook', () => {
    expect(drawTrace(traces.whole)).toEqual([
      `${SERVER} POST /v1/jobs`,
      `  ${PRODUCER} send sim/chat`,
      `    ${CONSUMER} process sim/chat`,
      `      ${CLIENT} chat chat`,
      `    ${CLIENT} POST`,
    ])
  })

  test('has all of a flow, which has a span from its creation to its end', () => {
    expect(drawTrace(traces.flow)).toEqual([
      `${SERVER} POST /v1/flows`,
      ...[1, 2].flatMap(() => [
        `  ${PRODUCER} send sim/chat`,
        `    ${CONSUMER} process sim/chat`,
        `      ${CLIENT} chat chat`,
      ]),
      `  ${INTERNAL} flow`,
    ])
    const [flow] = find(traces.flow, INTERNAL)
    expect(flow!.attributes).toMatchObject({ 'sluice.tenant': 'acme', 'sluice.outcome': 'completed' })
  })

  test('in a batch of its provider is processed from the making of that batch, which has a trace of its own', () => {
    expect(drawTrace(traces.line)).toEqual([
      `${SERVER} POST /v1/jobs`,
      `  ${PRODUCER} send sim/batched`,
      `    ${CONSUMER} process sim/batched`,
    ])
    const [process] = find(traces.line, CONSUMER)
    const batch = receiver.spans.find(({ name }) => name === 'provider batch sim/batched')!
    expect(batch.kind).toBe(CLIENT)
    expect(process!.attributes).toMatchObject({
      'sluice.outcome': 'completed',
      'sluice.waited_for': 'provider_batch',
      'sluice.provider_batch': batch.attributes['sluice.provider_batch'],
    })
    expect(batch.attributes).toMatchObject({ 'sluice.outcome': 'completed', 'sluice.lines.completed': 1 })
    expect(process!.startedAt).toBe(batch.startedAt)
  })

  test('has the attributes that the conventions ask for', () => {
    const [[request], [send], [process], [webhook, call]] = [SERVER, PRODUCER, CONSUMER, CLIENT].map((kind) =>
      find(traces.whole, kind).sort((a, b) => (a.name < b.name ? -1 : 1)),
    ) as [ReceivedSpan[], ReceivedSpan[], ReceivedSpan[], ReceivedSpan[]]
    expect(request!.attributes).toMatchObject({
      'http.request.method': 'POST',
      'http.route': '/v1/jobs',
      'http.response.status_code': 202,
      'sluice.request_id': 'request-of-mine',
      'sluice.tenant': 'acme',
    })
    expect(request!.resource).toMatchObject({ 'service.name': 'sluice', 'sluice.role': 'api' })
    for (const [span, operation] of [
      [send!, 'send'],
      [process!, 'process'],
    ] as const) {
      expect(span.attributes).toMatchObject({
        'messaging.system': 'sluice',
        'messaging.operation.name': operation,
        'messaging.operation.type': operation,
        'messaging.destination.name': 'sim/chat',
        'messaging.message.id': whole.id,
        'sluice.request_id': 'request-of-mine',
      })
    }
    expect(send!.attributes).toMatchObject({ 'sluice.cache': 'miss', 'sluice.outcome': 'created' })
    expect(process!.attributes).toMatchObject({ 'sluice.attempt': 1, 'sluice.outcome': 'completed' })
    expect(process!.resource).toMatchObject({ 'sluice.role': 'worker' })
    expect(call!.attributes).toMatchObject({
      'gen_ai.operation.name': 'chat',
      'gen_ai.provider.name': 'sim',
      'gen_ai.request.model': 'chat',
      'gen_ai.response.model': expect.any(String),
      'gen_ai.response.finish_reasons': ['stop'],
      'gen_ai.usage.input_tokens': whole.usage!.input_tokens,
      'gen_ai.usage.output_tokens': whole.usage!.output_tokens,
      'server.address': '127.0.0.1',
      'http.response.status_code': 200,
      'sluice.coalesced': 1,
    })
    expect(webhook!.attributes).toMatchObject({
      'http.request.method': 'POST',
      'server.address': '127.0.0.1',
      'http.response.status_code': 204,
    })
    expect([request, send, process, call, webhook].filter((span) => span!.isError)).toEqual([])
  })

  test('is visible to the receiver of its webhook, and not to the provider', () => {
    const webhook = find(traces.whole, CLIENT).find(({ name }) => name === 'POST')
    expect(hooks.received[0]!.headers.traceparent).toBe(`00-${traces.whole.id}-${webhook!.spanId}-01`)
  })

  test('that is answered from the cache says so where it was submitted', () => {
    expect(drawTrace(traces.hit)).toEqual([`${SERVER} POST /v1/jobs`, `  ${PRODUCER} send sim/chat`])
    expect(find(traces.hit, PRODUCER)[0]!.attributes).toMatchObject({ 'sluice.cache': 'hit' })
  })

  test('has a span for each attempt', () => {
    expect(drawTrace(traces.retried)).toEqual([
      `${SERVER} POST /v1/jobs`,
      `  ${PRODUCER} send sim/chat`,
      `    ${CONSUMER} process sim/chat`,
      `      ${CLIENT} chat chat`,
      `    ${CONSUMER} process sim/chat`,
      `      ${CLIENT} chat chat`,
    ])
    const calls = find(traces.retried, CLIENT)
    expect(calls.map(({ attributes }) => attributes['sluice.attempt'])).toEqual([1, 2])
    expect(calls.map(({ isError }) => isError)).toEqual([true, false])
    expect(calls[0]!.attributes).toMatchObject({ 'http.response.status_code': 500 })
    expect(calls[0]!.attributes['error.type']).toEqual(expect.any(String))
    expect(find(traces.retried, CONSUMER)[0]!.attributes).toMatchObject({ 'sluice.outcome': 'retry' })
  })

  test('that fails says why', () => {
    const spans = [...find(traces.refused, CONSUMER), ...find(traces.refused, CLIENT)]
    expect(spans.map(({ isError }) => isError)).toEqual([true, true])
    expect(spans.map(({ attributes }) => typeof attributes['error.type'])).toEqual(['string', 'string'])
  })
})

test('jobs that share a call each have their trace; the call is in one of them and linked to the others', () => {
  const calls = together.flatMap((trace) => find(trace, CLIENT))
  const processing = together.flatMap((trace) => find(trace, CONSUMER))
  expect(processing).toHaveLength(3)
  expect(calls).toHaveLength(1)
  expect([calls[0]!.parentSpanId, ...calls[0]!.links].sort()).toEqual(
    processing.map((span) => span.spanId).sort(),
  )
  expect(calls[0]!.name).toBe('embeddings embed')
  expect(calls[0]!.attributes).toMatchObject({ 'gen_ai.operation.name': 'embeddings', 'sluice.coalesced': 3 })
})

test('the jobs of an upload are sent together, and all of them go on in its trace', () => {
  expect(drawTrace(traces.bulk).sort()).toEqual(
    [
      `${SERVER} POST /v1/jobs/bulk`,
      `  ${PRODUCER} send sim/chat`,
      `    ${CONSUMER} process sim/chat`,
      `      ${CLIENT} chat chat`,
      `    ${CONSUMER} process sim/chat`,
      `      ${CLIENT} chat chat`,
    ].sort(),
  )
  const [send] = find(traces.bulk, PRODUCER)
  expect(send!.attributes).toMatchObject({ 'messaging.batch.message_count': 2, 'sluice.created': 2 })
})

test('a call at the OpenAI-compatible door is one trace, also when it goes straight to a worker', () => {
  expect(drawTrace(traces.door)).toEqual([
    `${SERVER} POST /v1/chat/completions`,
    `  ${PRODUCER} send sim/chat`,
    `    ${CONSUMER} process sim/chat`,
    `      ${CLIENT} chat chat`,
  ])
})

test('the jobs of a batch go on in the trace of the request that made it', () => {
  expect(drawTrace(traces.batch)).toEqual([
    `${SERVER} POST /v1/batches`,
    `${'  '}${PRODUCER} send sim/chat`,
    `    ${CONSUMER} process sim/chat`,
    `      ${CLIENT} chat chat`,
  ])
})

test('a caller decides whether its trace is recorded; without one a trace begins', () => {
  expect(receiver.trace(traces.unsampled.id)).toEqual([])
  const begun = receiver.spans.filter(({ kind, parentSpanId }) => kind === SERVER && parentSpanId === '')
  expect(begun.map(({ name }) => name)).toEqual(['POST /v1/jobs'])
  expect(draw(receiver.trace(begun[0]!.traceId), '')).toHaveLength(4)
})

test('nothing of prompts, answers, keys, secrets and query strings is sent, and the process ends in time', () => {
  const text = JSON.stringify(receiver.spans, (_name, value) =>
    typeof value === 'bigint' ? `${value}` : value,
  )
  expect(text.match(/canary-[a-z0-9-]+/g) ?? []).toEqual([])
  for (const secret of [prompt, providerKey, tenantKey, webhookSecret]) expect(text).not.toContain(secret)
  expect(receiver.headers[0]).toMatchObject({ 'x-receiver-key': receiverKey })
  expect(tookMs).toBeLessThan(15_000)
})
