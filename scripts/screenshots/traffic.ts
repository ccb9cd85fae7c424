import { setTimeout as sleep } from 'node:timers/promises'
import { keys } from './stack.ts'

type Tenant = keyof typeof keys
type Submission = { type: 'chat' | 'embedding'; body: object; [member: string]: unknown }

const lanes = {
  mini: 'openai/gpt-5-mini',
  embed: 'openai/text-embedding-3-small',
  haiku: 'anthropic/claude-haiku-4-5',
  mistral: 'mistral/mistral-small',
}

/** Which faults happen, and how often. Faults of the network are spread, or they would open the breaker. */
const faults = [
  { marker: '[[fault:400]]', count: 42, lane: lanes.mini },
  { marker: '[[fault:422]]', count: 19, lane: lanes.haiku },
  { marker: '[[fault:404]]', count: 7, lane: lanes.haiku },
  { marker: '[[fault:wrong_shape]]', count: 4, lane: lanes.mini },
  { marker: '[[fault:hang]]', count: 3, lane: lanes.mini, timeout_ms: 4_000 },
]

/** Creates an ordinary busy minute of three tenants; goes on until the signal. */
export async function makeTraffic(url: string, signal: AbortSignal): Promise<void> {
  const send = createSender(url, signal)
  await send(
    'acme',
    '/v1/jobs/bulk',
    toLines(chats(lanes.mini, 900, 'nightly-summaries', { priority: 'low' })),
  )
  await send('birch', '/v1/jobs/bulk', toLines(chats(lanes.haiku, 260, 'support-triage')))
  await send('birch', '/v1/jobs/bulk', toLines(chats(lanes.mistral, 34, 'drafts')))
  await send('cedar', '/v1/jobs/bulk', toLines(makeFailing()))
  await createBatch(send, 'acme', 420)
  await send('ops', `/v1/lanes/${encodeURIComponent(lanes.mistral)}/pause`, {
    for_ms: 14 * 60_000,
    reason: 'maintenance announced by Mistral',
  })
  for (let second = 0; !signal.aborted; second++) {
    const some = Math.round(6 + 4 * Math.sin(second / 9))
    await send('birch', '/v1/jobs/bulk', toLines(chats(lanes.haiku, 2, 'support-triage')))
    await send('cedar', '/v1/jobs/bulk', toLines([...embeddings(some), ...chats(lanes.mini, 5, 'assistant')]))
    await sleep(1_000, undefined, { signal }).catch(() => {})
  }
}

/** A question that fails once and then streams its answer; answers its id. */
export async function askQuestion(url: string, webhook: string): Promise<string> {
  const send = createSender(url, AbortSignal.timeout(10_000))
  const { id } = await send<{ id: string }>('acme', '/v1/jobs', {
    type: 'chat',
    priority: 'high',
    group: 'assistant',
    metadata: { customer: 'c-20417', prompt_version: '12' },
    webhook: { url: webhook, events: ['job.completed', 'job.failed'] },
    body: {
      model: lanes.mini,
      stream: true,
      max_completion_tokens: 400,
      messages: [
        { role: 'system', content: 'Answer from the manual.' },
        {
          role: 'user',
          content: `How do I reset the pump? ${'Please be thorough. '.repeat(3)}[[fault:500:times=1]]`,
        },
      ],
    },
  })
  return id
}

function chats(lane: string, count: number, group: string, members: object = {}): Submission[] {
  return Array.from({ length: count }, (_, number) => ({
    type: 'chat',
    group,
    cache: 'off',
    ...members,
    body: {
      model: lane,
      max_completion_tokens: 160,
      messages: [
        { role: 'user', content: `Document ${number} of ${group}. ${'It goes on. '.repeat(number % 12)}` },
      ],
    },
  }))
}

function embeddings(count: number): Submission[] {
  return Array.from({ length: count }, () => ({
    type: 'embedding',
    cache: 'off',
    body: { model: lanes.embed, input: `Paragraph ${Math.random()}` },
  }))
}

function makeFailing(): Submission[] {
  return faults.flatMap(({ marker, count, lane, ...members }) =>
    Array.from({ length: count }, (_, number) => ({
      type: 'chat' as const,
      group: 'imports',
      priority: 'high',
      max_attempts: 1,
      ...members,
      body: { model: lane, messages: [{ role: 'user', content: `Record ${number} ${marker}` }] },
    })),
  )
}

function toLines(jobs: Submission[]): string {
  return jobs.map((job) => JSON.stringify(job)).join('\n')
}

type Send = <Answer>(tenant: Tenant, path: string, body: object | string | FormData) => Promise<Answer>

function createSender(url: string, signal: AbortSignal): Send {
  return async (tenant, path, body) => {
    const isForm = body instanceof FormData
    const isText = typeof body === 'string'
    const response = await fetch(url + path, {
      method: 'POST',
      signal,
      headers: {
        authorization: `Bearer ${keys[tenant]}`,
        ...(isForm ? {} : { 'content-type': isText ? 'application/x-ndjson' : 'application/json' }),
      },
      body: isForm || isText ? body : JSON.stringify(body),
    })
    const text = await response.text()
    if (!response.ok) throw new Error(`${path} answered ${response.status}: ${text}`)
    return isText ? undefined : JSON.parse(text)
  }
}

async function createBatch(send: Send, tenant: Tenant, count: number): Promise<void> {
  const lines = chats(lanes.haiku, count, 'reviews').map(({ body }, number) =>
    JSON.stringify({ custom_id: `review-${number}`, method: 'POST', url: '/v1/chat/completions', body }),
  )
  const form = new FormData()
  form.set('purpose', 'batch')
  form.set('file', new File([lines.join('\n')], 'reviews.jsonl'))
  const { id } = await send<{ id: string }>(tenant, '/v1/files', form)
  await send(tenant, '/v1/batches', {
    input_file_id: id,
    endpoint: '/v1/chat/completions',
    completion_window: '24h',
  })
}
