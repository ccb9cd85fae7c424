/**
 * 200 parallel calls against the last cents of a budget: of a tenant by day and by month, of a key, a fair key, a group, and 200 elements of a
 * flow. What each came to may not exceed its budget by anything. `npm run bench:budget`
 */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { openService } from './service.ts'

const CALLS = 200
const USD = 0.045
/** Each costs a tenth of a cent: all the 8 tokens that it may answer. */
const PRICE = { input: 0, output: 125 }
const MOST_TOKENS = 8
const ADMIN = 'the-key-of-ops-0123456789'
const budgets = [{ usd: USD, per: 'month' }]
const owners = ['day', 'tenant', 'key', 'fair_key', 'group', 'flow'] as const
type Owner = (typeof owners)[number]
const keyOf = (owner: Owner) => `the-key-of-${owner}-0123456789`

type Outcome = {
  owner: Owner
  budget_usd: number
  spent_usd: number
  completed: number
  refused: number
  overshoot_usd: number
}

const limits: Partial<Record<Owner, object>> = {
  day: { limits: { budget_usd_per_day: USD } },
  tenant: { limits: { budgets } },
  fair_key: { per_fair_key: { budgets } },
}

const { url, close } = await openService({
  name: 'budget',
  upstreams: { sim: { latencyMs: 20 } },
  configure: ({ sim }) => {
    const kind = 'openai-compatible'
    const provider = { kind, base_url: sim, api_key: 'any', models: { m: { price: PRICE } } }
    const own = owners.filter((owner) => owner !== 'key')
    return {
      providers: { sim: provider },
      tenants: {
        ops: { keys: [ADMIN], admin: true },
        ...Object.fromEntries(own.map((owner) => [owner, { keys: [keyOf(owner)], ...limits[owner] }])),
      },
    }
  },
})
async function ask<Answer>(key: string, method: string, path: string, body?: object): Promise<Answer> {
  const headers = { authorization: `Bearer ${key}`, ...(body ? { 'content-type': 'application/json' } : {}) }
  const response = await fetch(url + path, {
    method,
    headers,
    ...(body ? { body: JSON.stringify(body) } : {}),
  })
  return (await response.json()) as Answer
}

/** Makes a key with a budget, and waits until the API process knows it. */
async function makeKey(): Promise<string> {
  await ask(ADMIN, 'POST', '/v1/tenants', { name: 'key' })
  const { secret } = await ask<{ secret: string }>(ADMIN, 'POST', '/v1/tenants/key/keys', { budgets })
  while ('error' in (await ask<object>(secret, 'GET', '/v1/jobs?limit=1')))
    await new Promise((resolve) => setTimeout(resolve, 100))
  return secret
}

const create = (owner: Owner, index: number | string) => ({
  type: 'chat',
  cache: 'off',
  ...(owner === 'group' ? { group: 'last-cents' } : {}),
  ...(owner === 'fair_key' ? { fair_key: 'alice' } : {}),
  body: {
    model: 'sim/m',
    max_tokens: MOST_TOKENS,
    messages: [{ role: 'user', content: `Question ${index}` }],
  },
})

async function spend(owner: Owner): Promise<Outcome> {
  const key = owner === 'key' ? await makeKey() : keyOf(owner)
  if (owner === 'group') await ask(key, 'PUT', '/v1/groups/last-cents/budget', { usd: USD })
  if (owner === 'flow') {
    const step = {
      for_each: '$' + '{{ input }}',
      allow_failures: CALLS,
      job: create(owner, '$' + '{{ item }}'),
    }
    const input = Array.from({ length: CALLS }, (_, index) => index)
    await ask(key, 'POST', '/v1/flows', { name: 'last cents', input, steps: { all: step }, budgets })
  } else {
    await Promise.all(
      Array.from({ length: CALLS }, (_, index) => ask(key, 'POST', '/v1/jobs', create(owner, index))),
    )
  }
  type Jobs = { data: { status: string; cost_usd: number | null }[] }
  for (let before = 0; ; ) {
    const { data } = await ask<Jobs>(key, 'GET', '/v1/jobs?limit=1000')
    const isOpen = data.some(({ status }) => ['scheduled', 'queued', 'running'].includes(status))
    // A flow goes on to its next elements after a look.
    const isOver = data.length > 0 && !isOpen && data.length === before
    before = data.length
    if (isOver) {
      const spent = Math.round(data.reduce((sum, job) => sum + (job.cost_usd ?? 0), 0) * 1e9) / 1e9
      const completed = data.filter(({ status }) => status === 'completed').length
      return {
        owner,
        budget_usd: USD,
        spent_usd: spent,
        completed,
        refused: CALLS - data.length,
        overshoot_usd: Math.max(0, spent - USD),
      }
    }
    await new Promise((resolve) => setTimeout(resolve, 300))
  }
}

const outcomes: Outcome[] = []
try {
  for (const owner of owners) outcomes.push(await spend(owner))
} finally {
  await close()
}
const result = { calls: CALLS, outcomes, goal: { overshoot_usd: 0 } }
await writeFile(join(import.meta.dirname, 'results', 'budget.json'), `${JSON.stringify(result, null, 2)}\n`)
process.stdout.write(`${JSON.stringify(result, null, 2)}\n`)
const holds = outcomes.every(({ overshoot_usd: over, completed }) => over === 0 && completed > 0)
process.exitCode = holds ? 0 : 1
