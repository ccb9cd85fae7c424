import { setTimeout as sleep } from 'node:timers/promises'
import type { Attempt, GroupSummary, Job } from '../../jobs/job.ts'

/** Longer than the API may take to say that its store is away; a request without an answer by then hangs. */
const ANSWER_MS = 10_000

/** The API key of a tenant of the stage. */
export const keyOf = (tenant: string) => `key-of-${tenant}-0123456789`

/** The header that names a client's tenant; nothing on a stage without tenants. */
const identify = (tenant: string | undefined): Record<string, string> =>
  tenant === undefined ? {} : { authorization: `Bearer ${keyOf(tenant)}` }

/** Reads JSON; null for 404. Throws for any status outside of 2xx, and without an answer within 10 s. */
export async function get<T>(url: string, tenant?: string): Promise<T | null> {
  const response = await fetch(url, { headers: identify(tenant), signal: AbortSignal.timeout(ANSWER_MS) })
  if (response.status === 404) return null
  if (!response.ok) throw new Error(`${url} answered ${response.status}: ${await response.text()}`)
  return (await response.json()) as T
}

export const getGroup = (api: string, group: string, tenant?: string) =>
  get<GroupSummary>(`${api}/v1/groups/${group}`, tenant)
export const getJob = (api: string, id: string, tenant?: string) => get<Job>(`${api}/v1/jobs/${id}`, tenant)

/** Calls made for the job; none if the job does not exist. */
export async function getAttempts(api: string, id: string, tenant?: string): Promise<Attempt[]> {
  return (await get<{ data: Attempt[] }>(`${api}/v1/jobs/${id}/attempts`, tenant))?.data ?? []
}

/** The answer to one submission; `status` 0: no answer. */
export type Submitted = { status: number; id: string | null; retryAfterMs: number; ms: number }

/** Sends a job once. */
export async function submit(api: string, body: string, key: string, tenant?: string): Promise<Submitted> {
  const startedAt = performance.now()
  const took = () => performance.now() - startedAt
  try {
    const response = await fetch(`${api}/v1/jobs`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'idempotency-key': key, ...identify(tenant) },
      body,
      signal: AbortSignal.timeout(ANSWER_MS),
    })
    const answer = (await response.json()) as { id?: string }
    const retryAfterMs = Number(response.headers.get('retry-after') ?? 0) * 1000
    return { status: response.status, id: answer.id ?? null, retryAfterMs, ms: took() }
  } catch {
    // Refused, reset, cut in mid-answer or silent: for a client they are the same.
    return { status: 0, id: null, retryAfterMs: 0, ms: took() }
  }
}

/** The values of a function for many inputs, a few at a time; a call that throws is repeated for a while. */
export async function mapGently<In, Out>(
  inputs: readonly In[],
  read: (input: In) => Promise<Out>,
): Promise<Out[]> {
  const outputs: Out[] = []
  let next = 0
  const work = async () => {
    for (let index = next++; index < inputs.length; index = next++) {
      outputs[index] = await persistently(() => read(inputs[index]!))
    }
  }
  await Promise.all(Array.from({ length: 8 }, work))
  return outputs
}

async function persistently<T>(read: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await read()
    } catch (error) {
      if (attempt === 10) throw error
      await sleep(300)
    }
  }
}
