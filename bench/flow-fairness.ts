/**
 * How flows of several tenants share a lane: `npm run bench:flows` runs it after the cost. One tenant has most of the flows, and two have few.
 * While all of them have flows left, each gets the same share of the calls; and one flow of a tenant that has no other goes on beside them nearly as
 * fast as alone.
 */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createSimulator } from '../simulator/simulator.ts'
import { startChild } from './child.ts'

const STEPS = 5
const CALL_MS = 40
const SLOTS = 8
const AT_ONCE = 32
const LOOK_MS = 100
/** The tenant with most flows has this many times as many as each of the other two. */
const TIMES = 8
const QUIET_FLOWS = 10

export type FlowFairness = {
  /** Calls of each tenant while all had flows left, the one with most flows first. */
  calls: number[]
  /** The smallest of the shares, of what each would have if all were equal. */
  leastShare: number
  /** Middle time of one flow of another tenant, ms: alone, and beside all those. */
  aloneMs: number
  besideMs: number
}

const tenants = ['most', 'few', 'other', 'quiet']
const keyOf = (tenant: string) => `key-of-${tenant}-0123456789`

/** @param flows of all three tenants together */
export async function measureFlowFairness(
  flows: number,
  { redisUrl, folder }: { redisUrl: string; folder: string },
): Promise<FlowFairness> {
  const simulator = createSimulator({ seed: 1, latencyMs: CALL_MS })
  const config = join(folder, 'fairness.yaml')
  await writeFile(
    config,
    `redis: { url: "${redisUrl}", prefix: fairness }
worker: { spool: "${folder}/fairness-spool" }
tenants: { ${tenants.map((tenant) => `${tenant}: { keys: ["${keyOf(tenant)}"] }`).join(', ')} }
providers:
  sim: { kind: openai-compatible, base_url: "${await simulator.listen()}", limits: { max_concurrency: ${SLOTS} }, models: { chat: {} } }
`,
  )
  const start = (role: 'api' | 'worker', ready: RegExp) =>
    startChild({
      name: role,
      args: ['--import', './bench/serve-usage.ts', 'main.ts', role, '--config', config, '--port', '0'],
      ready,
      profile: null,
    })
  const api = await start('api', /"url":"(http:[^"]+)"/)
  const worker = await start('worker', /"role":"worker".*"msg":"ready"/)
  const ask = createAsk(api.match[1]!)
  try {
    await runFlow(ask, 'quiet', 'warm')
    const alone = await runQuiet(ask, 'alone')
    const few = Math.max(1, Math.round(flows / (TIMES + 2)))
    const counts = [flows - 2 * few, few, few]
    await Promise.all(counts.map((count, at) => createFlows(ask, tenants[at]!, count)))
    const [beside, calls] = await Promise.all([runQuiet(ask, 'beside'), countWhileAllHave(ask, counts)])
    const equal = calls.reduce((sum, count) => sum + count, 0) / calls.length
    return { calls, leastShare: Math.min(...calls) / equal, aloneMs: alone, besideMs: beside }
  } finally {
    await api.close()
    await worker.close()
    await simulator.close()
  }
}

type Ask = <Answer>(tenant: string, path: string, body?: object) => Promise<Answer>

function createAsk(url: string): Ask {
  return async (tenant, path, body) => {
    const response = await fetch(url + path, {
      method: body === undefined ? 'GET' : 'POST',
      headers: {
        authorization: `Bearer ${keyOf(tenant)}`,
        ...(body !== undefined && { 'content-type': 'application/json' }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    })
    if (!response.ok) throw new Error(`${response.status}: ${await response.text()}`)
    return (await response.json()) as never
  }
}

function toFlow(tenant: string, mark: string): object {
  const steps = Object.fromEntries(
    Array.from({ length: STEPS }, (_, step) => {
      const before = step === 0 ? '' : ` \${{ steps.s${step - 1}.result.choices[0].message.content }}`
      const content = `${tenant} ${mark} ${step}${before}`
      const body = { model: 'sim/chat', messages: [{ role: 'user', content }] }
      return [`s${step}`, { job: { type: 'chat', cache: 'off', body } }]
    }),
  )
  return { name: 'fairness', group: tenant, steps }
}

async function createFlows(ask: Ask, tenant: string, count: number): Promise<void> {
  let next = 0
  const go = async () => {
    while (next < count) await ask(tenant, '/v1/flows', toFlow(tenant, String(next++)))
  }
  await Promise.all(Array.from({ length: AT_ONCE }, go))
}

/** How long one flow takes, ms. */
async function runFlow(ask: Ask, tenant: string, mark: string): Promise<number> {
  const since = performance.now()
  const { id } = await ask<{ id: string }>(tenant, '/v1/flows', toFlow(tenant, mark))
  for (;;) {
    const { status } = await ask<{ status: string }>(tenant, `/v1/flows/${id}`)
    if (status === 'completed') return performance.now() - since
    if (status === 'failed') throw new Error(`the flow ${id} failed`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

/** Some flows of the quiet tenant, one after the other; the middle of their times, ms. */
async function runQuiet(ask: Ask, mark: string): Promise<number> {
  const times: number[] = []
  for (let at = 0; at < QUIET_FLOWS; at++) times.push(await runFlow(ask, 'quiet', `${mark} ${at}`))
  return times.toSorted((a, b) => a - b)[Math.floor(times.length / 2)]!
}

/** Calls of each tenant from now until the first of them has no more to make. */
async function countWhileAllHave(ask: Ask, flows: number[]): Promise<number[]> {
  const read = () =>
    Promise.all(
      flows.map(async (_, at) => {
        type Group = { counts: { completed: number } }
        return (await ask<Group>(tenants[at]!, `/v1/groups/${tenants[at]}`)).counts.completed
      }),
    )
  const before = await read()
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
    const now = await read()
    // The last steps of the flows have no next ones, so that a tenant's share ends a little before its calls do.
    if (now.some((count, at) => count >= 0.9 * flows[at]! * STEPS))
      return now.map((count, at) => count - before[at]!)
  }
}
