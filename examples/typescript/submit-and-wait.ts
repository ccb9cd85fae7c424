/**
 * Submits a chat and waits for its answer, with fetch alone.
 *
 *   node examples/typescript/submit-and-wait.ts "Why is the sky blue?"
 */
import { randomUUID } from 'node:crypto'

type Job = {
  id: string
  status: 'scheduled' | 'queued' | 'running' | 'completed' | 'failed' | 'cancelled'
  result: { choices: { message: { content: string } }[] } | null
  cost_usd: number | null
  cache: 'miss' | 'hit' | 'shared' | 'off'
  error: { code: string; message: string } | null
}

const {
  SLUICE_URL: url = 'http://127.0.0.1:8080',
  SLUICE_MODEL: model = 'sim/chat-small',
  SLUICE_KEY: key,
} = process.env
const question = process.argv[2] ?? 'Why is the sky blue?'

async function request(path: string, init: RequestInit = {}): Promise<Job> {
  const headers = new Headers(init.headers)
  if (key) headers.set('authorization', `Bearer ${key}`)
  const response = await fetch(`${url}${path}`, { ...init, headers })
  const body = (await response.json()) as Job & { error: { message: string } }
  if (!response.ok) throw new Error(`${response.status}: ${body.error.message}`)
  return body
}

const create = {
  type: 'chat',
  body: { model, messages: [{ role: 'user', content: question }] },
}
// With an idempotency key the request may be repeated, after a time-out say, and still makes one job.
let job = await request('/v1/jobs', {
  method: 'POST',
  headers: { 'content-type': 'application/json', 'idempotency-key': randomUUID() },
  body: JSON.stringify(create),
})
console.log(`${job.id} is ${job.status}`)

while (!['completed', 'failed', 'cancelled'].includes(job.status)) {
  job = await request(`/v1/jobs/${job.id}?wait=60`)
}
if (job.status !== 'completed') throw new Error(`${job.status}: ${job.error?.message}`)
console.log(job.result?.choices[0]?.message.content)
console.log(`$${job.cost_usd} (cache: ${job.cache})`)
