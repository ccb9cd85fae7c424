import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Attempt, GroupSummary, Job } from '../../jobs/job.ts'
import { simulatorOptionsFromArgs } from '../../simulator/cli.ts'
import { createSimulator, type Simulator } from '../../simulator/simulator.ts'
import type { BilledCall, SimulatorState } from '../../simulator/state.ts'
import { atEndOfFile } from './at-end-of-file.ts'
import { testEncryption } from './encryption.ts'
import { type RunningProcess, startProcess } from './processes.ts'
import { type TestPlace, testRedis, toConfig } from './redis.ts'
import { RUN_VARIABLE } from './run-processes.ts'

export type StackOptions = {
  apis?: number
  workers?: number
  /** Command line of the simulator: `['--rpm', '1800']`. */
  simulator?: string[]
  /** Limits of the provider, as YAML in one line. */
  limits?: string
  /** Added to the environment of each worker. */
  workerEnv?: Record<string, string>
  /** The Redis to use; the shared one by default. */
  redis?: TestPlace
  /** Members of `worker` besides the spool, as YAML: `hung_after: 1s`. */
  worker?: string
  /** More YAML at the end of the configuration. */
  extra?: string
}

/** The processes of a deployment, over the shared Redis with a prefix of its own. */
export type Stack = {
  /** Addresses of the API processes. */
  urls: string[]
  apis: RunningProcess[]
  workers: RunningProcess[]
  /** The output of API and worker processes, stdout and stderr. */
  output(): string
  /** The folder of results that Redis did not accept. */
  spool: string
  /** The prefix of its keys in Redis. */
  prefix: string
  startWorker(): Promise<RunningProcess>
  /** Replaces the configuration while it runs, as an editor does. */
  rewriteConfig(change: (text: string) => string): Promise<void>
  simulator: {
    url: string
    state(): Promise<SimulatorState>
    calls(): Promise<BilledCall[]>
  }
  /** Stops every process as a deployment does, workers first, and answers their exit codes, with a 0 for the simulator. */
  stop(): Promise<(number | null)[]>
}

/** Starts `node main.ts api` and `worker` as real processes over a simulator in this one, each on a free port. */
export async function startStack(options: StackOptions = {}): Promise<Stack> {
  const folder = await mkdtemp(join(process.env[RUN_VARIABLE] ?? tmpdir(), 'stack-'))
  const path = join(folder, 'sluice.yaml')
  const spool = join(folder, 'spool')
  const redis = options.redis ?? testRedis()
  const simulator = createSimulator(simulatorOptionsFromArgs(options.simulator ?? []).options)
  simulators.add(simulator)
  const base = (await simulator.listen(0, '127.0.0.1')).replace(/\/v1$/, '')
  let text = `
redis: ${JSON.stringify(toConfig(redis))}
worker: { spool: "${spool}", ${options.worker ?? ''} }
${options.extra?.includes('encryption:') ? '' : testEncryption}
providers:
  sim:
    kind: openai-compatible
    base_url: ${base}/v1
    api_key: a-key-for-tests
    timeout: 60s
    limits: ${options.limits ?? '{ max_concurrency: 64 }'}
    retry: { base: 50ms, cap: 1s }
    models:
      chat: { price: { input: 1, output: 2 } }
      embed: { price: { input: 1 }, coalesce: { max_inputs: 256, max_tokens: 100000, max_wait: 20ms } }
${options.extra ?? ''}
`
  await writeFile(path, text)
  const start = (role: string, ready: RegExp, env: Record<string, string> = {}) =>
    startProcess({ args: ['main.ts', role, '--config', path, '--port', '0'], ready, readyMs: 50_000, env })
  const startWorker = () => start('worker', /"role":"worker".*"msg":"ready"/, options.workerEnv)
  const [apis, workers] = await Promise.all([
    Promise.all(
      Array.from({ length: options.apis ?? 1 }, () => start('api', /"url":"(http:[^"]+)","msg":"ready"/)),
    ),
    Promise.all(Array.from({ length: options.workers ?? 1 }, startWorker)),
  ])
  const ask = async (route: string) => (await fetch(`${base}/_sim/${route}`)).json()

  return {
    urls: apis.map((api) => api.match[1]!),
    apis,
    workers,
    output: () => [...apis, ...workers].map((running) => running.output).join('\n'),
    spool,
    prefix: redis.prefix,
    async startWorker() {
      const worker = await startWorker()
      workers.push(worker)
      return worker
    },
    async rewriteConfig(change) {
      text = change(text)
      await writeFile(`${path}.new`, text)
      await rename(`${path}.new`, path)
    },
    simulator: {
      url: base,
      state: () => ask('state') as Promise<SimulatorState>,
      calls: async () => ((await ask('calls')) as { calls: BilledCall[] }).calls,
    },
    async stop() {
      const codes: (number | null)[] = []
      for (const running of [...workers, ...apis]) {
        running.kill('SIGTERM')
        codes.push((await running.exited).code)
      }
      simulators.delete(simulator)
      await simulator.close()
      codes.push(0)
      await rm(folder, { recursive: true, force: true })
      return codes
    },
  }
}

/** Those whose test did not stop its stack. */
const simulators = new Set<Simulator>()
atEndOfFile(async () => {
  for (const simulator of simulators) await simulator.close()
  simulators.clear()
})

/** A create object as clients send it. */
export type JobRequest = { type: string; body: object; [member: string]: unknown }

export function chat(content: string, members: Record<string, unknown> = {}, body: object = {}): JobRequest {
  return {
    type: 'chat',
    body: { model: 'sim/chat', messages: [{ role: 'user', content }], ...body },
    ...members,
  }
}

export async function post(url: string, path: string, body: unknown): Promise<Response> {
  return fetch(url + path, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
}

export async function createJob(url: string, request: JobRequest): Promise<Job> {
  const response = await post(url, '/v1/jobs', request)
  if (response.status !== 202 && response.status !== 200) {
    throw new Error(`got ${response.status}: ${await response.text()}`)
  }
  return (await response.json()) as Job
}

/** Submits all jobs at once as NDJSON and answers their ids. */
export async function createBulk(url: string, requests: JobRequest[]): Promise<string[]> {
  const response = await fetch(`${url}/v1/jobs/bulk`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-ndjson' },
    body: requests.map((request) => JSON.stringify(request)).join('\n'),
  })
  const lines = (await response.text()).trim().split('\n')
  return lines.map((line) => {
    const answer = JSON.parse(line) as { id?: string }
    if (answer.id === undefined) throw new Error(`was refused: ${line}`)
    return answer.id
  })
}

export async function get<T>(url: string, path: string): Promise<T> {
  const response = await fetch(url + path)
  if (!response.ok) throw new Error(`${path}: got ${response.status}: ${await response.text()}`)
  return (await response.json()) as T
}

export const getJob = (url: string, id: string) => get<Job>(url, `/v1/jobs/${id}`)
export const waitForJob = (url: string, id: string) => get<Job>(url, `/v1/jobs/${id}?wait=60`)
export const getAttempts = async (url: string, id: string) =>
  (await get<{ data: Attempt[] }>(url, `/v1/jobs/${id}/attempts`)).data

/** Resolves when every job of the group has ended. */
export async function groupEnded(url: string, group: string, timeoutMs = 60_000): Promise<GroupSummary> {
  const deadline = performance.now() + timeoutMs
  for (;;) {
    const summary = await get<GroupSummary>(url, `/v1/groups/${group}`)
    const { scheduled, queued, running } = summary.counts
    if (scheduled + queued + running === 0) return summary
    if (performance.now() > deadline) throw new Error(`still open: ${JSON.stringify(summary)}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}
