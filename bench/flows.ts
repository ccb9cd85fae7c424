/**
 * What flows cost beside the same jobs alone, and how those of several tenants share a lane (flow-fairness.ts): `node bench/flows.ts [FLOWS]`. Flows of five steps, each with a job that reads the one before it, against as many
 * jobs handed in by themselves with as many requests at a time; CPU of all processes and Redis, and wall time. Flows may take 1.3 times as much.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { startEmbeddedRedis } from '../embedded-redis/embedded-redis.ts'
import { createSimulator } from '../simulator/simulator.ts'
import { startChild } from './child.ts'
import { measureFlowFairness } from './flow-fairness.ts'

const flows = Number(process.argv[2] ?? 1000)
const STEPS = 5
const AT_ONCE = 64
const ROUNDS = 3
const MOST_TIMES = 1.3
/** Of an equal share: what each tenant gets at least. */
const LEAST_SHARE = 0.8

const folder = await mkdtemp(join(tmpdir(), 'sluice-flows-'))
const simulator = createSimulator({ seed: 1 })
const upstream = await simulator.listen()
const server = await startEmbeddedRedis({ directory: join(folder, 'redis'), log: () => {} })
const redis = new Redis(server.url)
const config = join(folder, 'sluice.yaml')
await writeFile(
  config,
  `redis: { url: "${server.url}" }
worker: { spool: "${folder}/spool" }
log: { level: info }
providers:
  sim: { kind: openai-compatible, base_url: "${upstream}", limits: { max_concurrency: 256 }, models: { chat: {} } }
`,
)
const start = (role: 'api' | 'worker') =>
  startChild({
    name: role,
    args: ['--import', './bench/serve-usage.ts', 'main.ts', role, '--config', config, '--port', '0'],
    ready: role === 'api' ? /listening on (http:\S+)|"url":"(http:[^"]+)"/ : /"role":"worker"|ready/,
    env: { LOG_LEVEL: 'info' },
    profile: null,
  })

type Figures = { cpuMs: number; wallMs: number }
const chat = (content: string) => ({
  type: 'chat',
  cache: 'off',
  body: { model: 'sim/chat', messages: [{ role: 'user', content }] },
})

const api = await start('api')
const worker = await start('worker')
const url = api.match[1] ?? api.match[2]
try {
  await measureCost()
  await Promise.all([api.close(), worker.close()])
  await measureFairness()
} finally {
  await Promise.all([api.close(), worker.close()])
  redis.disconnect()
  await server.close()
  await simulator.close()
  await rm(folder, { recursive: true, force: true })
}

async function measureCost(): Promise<void> {
  await runJobs('warm', 50)
  await runFlows('warm', 10)
  const ratios = { cpu: [] as number[], wall: [] as number[] }
  for (let round = 0; round < ROUNDS; round++) {
    const jobs = await measure(() => runJobs(`round ${round}`, flows * STEPS))
    const asFlows = await measure(() => runFlows(`round ${round}`, flows))
    ratios.cpu.push(asFlows.cpuMs / jobs.cpuMs)
    ratios.wall.push(asFlows.wallMs / jobs.wallMs)
    console.log(
      `jobs ${show(jobs)}   flows ${show(asFlows)}   cpu ×${ratios.cpu.at(-1)!.toFixed(2)}  wall ×${ratios.wall.at(-1)!.toFixed(2)}`,
    )
  }
  const middle = (all: number[]) => all.toSorted((a, b) => a - b)[Math.floor(all.length / 2)]!
  console.log(
    `${flows} flows of ${STEPS} steps: ${middle(ratios.cpu).toFixed(2)} times the CPU and ${middle(ratios.wall).toFixed(2)} times the time of the same jobs alone`,
  )
  if (middle(ratios.cpu) > MOST_TIMES || middle(ratios.wall) > MOST_TIMES) process.exitCode = 1
}

async function measureFairness(): Promise<void> {
  const place = { redisUrl: server.url, folder }
  const { calls, leastShare, aloneMs, besideMs } = await measureFlowFairness(flows, place)
  const share = (100 * leastShare).toFixed(0)
  console.log(
    `${flows} flows of three tenants, of which one has eight times as many as each other: ${calls.join(', ')} calls while all had some left, the least ${share} % of an equal share`,
  )
  console.log(
    `one flow of a fourth tenant: ${aloneMs.toFixed(0)} ms alone, ${besideMs.toFixed(0)} ms beside them (×${(besideMs / aloneMs).toFixed(1)})`,
  )
  if (leastShare < LEAST_SHARE) process.exitCode = 1
}

function show({ cpuMs, wallMs }: Figures): string {
  return `${(cpuMs / 1000).toFixed(2)} s CPU, ${(wallMs / 1000).toFixed(2)} s`
}

async function measure(work: () => Promise<void>): Promise<Figures> {
  const cpu = async () => {
    const info = await redis.info('cpu')
    const read = (name: string) => Number(new RegExp(`^${name}:([\\d.]+)`, 'm').exec(info)?.[1]) * 1000
    return read('used_cpu_sys') + read('used_cpu_user') + (await api.cpuMs()) + (await worker.cpuMs())
  }
  const [before, since] = [await cpu(), performance.now()]
  await work()
  const wallMs = performance.now() - since
  return { cpuMs: (await cpu()) - before, wallMs }
}

async function runJobs(mark: string, count: number): Promise<void> {
  const group = `jobs-${mark.replaceAll(' ', '-')}`
  await each(count, (index) => post('/v1/jobs', { ...chat(`${mark} ${index}`), group }))
  await ended(group, count)
}

async function runFlows(mark: string, count: number): Promise<void> {
  const group = `flows-${mark.replaceAll(' ', '-')}`
  await each(count, (index) => {
    const steps = Object.fromEntries(
      Array.from({ length: STEPS }, (_, step) => {
        const before = step === 0 ? '' : ` \${{ steps.s${step - 1}.result.choices[0].message.content }}`
        return [`s${step}`, { job: chat(`flow ${mark} ${index} ${step}${before}`) }]
      }),
    )
    return post('/v1/flows', { name: 'bench', group, steps })
  })
  await ended(group, count * STEPS)
}

async function each(count: number, work: (index: number) => Promise<void>): Promise<void> {
  let next = 0
  const go = async () => {
    while (next < count) await work(next++)
  }
  await Promise.all(Array.from({ length: AT_ONCE }, go))
}

async function post(path: string, body: object): Promise<void> {
  const headers = { 'content-type': 'application/json' }
  const response = await fetch(`${url}${path}`, { method: 'POST', headers, body: JSON.stringify(body) })
  const text = await response.text()
  if (response.status !== 202) throw new Error(`${response.status}: ${text}`)
}

async function ended(group: string, count: number): Promise<void> {
  for (;;) {
    const answer = await fetch(`${url}/v1/groups/${group}`)
    const { counts } = (await answer.json()) as { counts?: { completed: number } }
    if (counts?.completed === count) return
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}
