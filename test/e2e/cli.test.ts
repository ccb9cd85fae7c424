import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { appendFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { runAudit, runListKeys, runListTenants } from '../../cli/administer.ts'
import { runListBudgets } from '../../cli/budgets.ts'
import type { ExitCode } from '../../cli/exit.ts'
import { runFailures } from '../../cli/failures.ts'
import { runListFlows } from '../../cli/flows.ts'
import { runGroups } from '../../cli/groups.ts'
import { runList as runListJobs } from '../../cli/jobs.ts'
import { runLanes } from '../../cli/lanes.ts'
import { runProviderBatches } from '../../cli/provider-batches.ts'
import { runList as runListSchedules } from '../../cli/schedules.ts'
import type { Terminal } from '../../cli/terminal.ts'
import { createClient } from '../../client/index.ts'
import type { Job } from '../../jobs/job.ts'
import { closeRedis, createRedis } from '../../lib/redis.ts'
import { createSimulator } from '../../simulator/simulator.ts'
import { callCli } from '../helpers/call-cli.ts'
import { keepTerminal, runCli, startCli } from '../helpers/cli.ts'
import { type RunningProcess, startProcess } from '../helpers/processes.ts'
import { keysOf, testRedis, toConfig } from '../helpers/redis.ts'
import { RUN_VARIABLE } from '../helpers/run-processes.ts'

const KEY = 'a-key-of-the-tenant-acme-0123456789'
const ADMIN_KEY = 'a-key-of-the-operators-0123456789'

const simulator = createSimulator({ latencyMs: 40 })
const redis = testRedis()
let folder = ''
let config = ''
let api: RunningProcess
let worker: RunningProcess
let url = ''
let env: Record<string, string> = {}
let tests = 0

beforeAll(async () => {
  folder = await mkdtemp(join(process.env[RUN_VARIABLE] ?? tmpdir(), 'cli-'))
  config = join(folder, 'sluice.yaml')
  await writeFile(
    config,
    `
redis: ${JSON.stringify(toConfig(redis))}
providers:
  sim:
    kind: openai-compatible
    base_url: ${await simulator.listen(0, '127.0.0.1')}
    limits: { max_concurrency: 8 }
    retry: { base: 50ms, cap: 1s }
    models:
      chat: { price: { input: 1, output: 2 } }
      embed: { price: { input: 1 }, coalesce: { max_inputs: 256, max_tokens: 100000, max_wait: 20ms } }
redrive: [{ error_codes: [unsupported_country_region_territory], after: 1s, max_times: 2 }]
tenants:
  acme: { keys: [${KEY}] }
  ops: { keys: [${ADMIN_KEY}], admin: true }
`,
  )
  api = await startApi('0')
  url = api.match[1]!
  env = { SLUICE_URL: url, SLUICE_KEY: KEY }
  const args = ['main.ts', 'worker', '--config', config]
  worker = await startProcess({ args, ready: /"role":"worker".*"msg":"ready"/, readyMs: 50_000 })
})

afterAll(async () => {
  for (const running of [api, worker]) {
    running?.kill()
    await running?.exited
  }
  await simulator.close()
  if (folder !== '') await rm(folder, { recursive: true, force: true })
})

beforeEach(() => {
  tests++
  simulator.reset()
})

function startApi(port: string): Promise<RunningProcess> {
  return startProcess({
    args: ['main.ts', 'api', '--config', config, '--port', port],
    ready: /"url":"(http:[^"]+)","msg":"ready"/,
    readyMs: 50_000,
  })
}

/** Jobs that no other test's answers serve, and that each cost a call of their own. */
function chatLines(count: number, extra: (index: number) => string = () => ''): object[] {
  return Array.from({ length: count }, (_, index) => ({
    type: 'chat',
    cache: 'off',
    body: { model: 'sim/chat', messages: [{ role: 'user', content: `${tests}-${index}${extra(index)}` }] },
  }))
}

async function writeLines(name: string, lines: (object | string)[]): Promise<string> {
  const path = join(folder, `${tests}-${name}`)
  const text = lines.map((line) => (typeof line === 'string' ? line : JSON.stringify(line)))
  await writeFile(path, `${text.join('\n')}\n`)
  return path
}

type OutLine = { line: number; job?: Job; error?: { code: string } }

function readOut<T = OutLine>(path: string): T[] {
  const text = readFileSync(path, 'utf8')
  expect(text.endsWith('\n')).toBe(true)
  return text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as T)
}

/** Lines of a file that grows. */
async function linesArrive(path: string, least: number): Promise<void> {
  const count = () => (existsSync(path) ? readFileSync(path, 'utf8').split('\n').length - 1 : 0)
  await expect.poll(count, { timeout: 20_000, interval: 10 }).toBeGreaterThanOrEqual(least)
}

function expectNoneTwice(): void {
  const hashes = simulator.calls().map((call) => call.prompt_hash)
  expect(new Set(hashes).size).toBe(hashes.length)
}

test('job creates are submitted and answered in their order; a bad line costs only itself, and the exit code is 1', async () => {
  const lines = chatLines(30, (index) => (index === 7 ? ' [[fault:400]]' : ''))
  const file = await writeLines('jobs.jsonl', [...lines.slice(0, 20), 'not json', '', ...lines.slice(20)])
  const { code, stdout, stderr } = await runCli(['submit', file], { env })
  const out = stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as OutLine)
  const numbers = Array.from({ length: 32 }, (_, index) => index + 1).filter((number) => number !== 22)
  expect(out.map(({ line }) => line)).toEqual(numbers)
  expect(out[20]!.error).toMatchObject({ code: 'invalid_request' })
  expect(out[7]!.job).toMatchObject({ status: 'failed', error: { provider_status: 400 } })
  expect(out.filter(({ job }) => job?.status === 'completed')).toHaveLength(29)
  expect(out[29]!.job!.result).toBeTruthy()
  expect({ code, stderr }).toEqual({ code: 1, stderr: '2 of 31 failed\n' })
})

test('batch lines get the lines of OpenAI result files', async () => {
  const lines = Array.from({ length: 24 }, (_, index) =>
    index % 2 === 0
      ? {
          custom_id: `chat-${index}`,
          method: 'POST',
          url: '/v1/chat/completions',
          body: (chatLines(24, (at) => (at === 4 ? ' [[fault:400]]' : ''))[index] as { body: object }).body,
        }
      : {
          custom_id: `embedding-${index}`,
          method: 'POST',
          url: '/v1/embeddings',
          body: { model: 'sim/embed', input: `${tests}-${index}`, dimensions: 4 },
        },
  )
  const wrong = { custom_id: 'wrong', method: 'POST', url: '/v1/images', body: { model: 'sim/chat' } }
  const file = await writeLines('batch.jsonl', [...lines, wrong])
  const out = `${file}.out`
  expect((await callCli(['submit', file, '--out', out], { env })).code).toBe(1)
  const results = readOut<{
    id: string
    custom_id: string
    response: { status_code: number; request_id: string; body: { object?: string; error?: object } } | null
    error: { code: string } | null
  }>(out)
  expect(results.map((result) => result.custom_id)).toEqual([...lines, wrong].map((line) => line.custom_id))
  expect(results[0]!.response).toMatchObject({ status_code: 200, body: { object: 'chat.completion' } })
  expect(results[1]!.response).toMatchObject({ status_code: 200, body: { object: 'list' } })
  expect(results[4]!).toMatchObject({ error: null, response: { status_code: 400 } })
  expect(results[4]!.response!.body.error).toBeTruthy()
  expect(results[24]!).toMatchObject({ response: null, error: { code: 'invalid_url' } })
  expect(new Set(results.map(({ id }) => id)).size).toBe(25)
})

test('what failed in an earlier run gets a new attempt with --retry-failed, and nothing else does', async () => {
  const lines = chatLines(2, (index) => (index === 1 ? ' [[fault:422:times=1]]' : ''))
  const file = await writeLines('jobs.jsonl', lines)
  const run = async (...further: string[]) => {
    const { code, stdout } = await callCli(['submit', file, ...further], { env })
    return {
      code,
      jobs: stdout
        .trimEnd()
        .split('\n')
        .map((line) => (JSON.parse(line) as OutLine).job!),
    }
  }
  const first = await run()
  expect([first.code, first.jobs.map(({ status }) => status)]).toEqual([1, ['completed', 'failed']])
  expect(await run()).toEqual(first)
  const second = await run('--retry-failed')
  expect([second.code, second.jobs.map(({ status }) => status)]).toEqual([0, ['completed', 'completed']])
  expect(second.jobs.map(({ id }) => id)).toEqual(first.jobs.map(({ id }) => id))
  expect(second.jobs[0]).toEqual(first.jobs[0])
})

test('it exits with 0 when everything completes, and prints nothing where there is no terminal', async () => {
  const file = await writeLines('jobs.jsonl', chatLines(5))
  const { code, stdout, stderr } = await runCli(['submit', file, '--out', `${file}.out`], { env })
  expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: '', stderr: '' })
  expect(existsSync(`${file}.out.jobs`)).toBe(false)
})

test('with --json its progress is read by scripts', async () => {
  const file = await writeLines('jobs.jsonl', chatLines(5))
  const { code, stderr } = await callCli(['submit', file, '--out', `${file}.out`, '--json'], { env })
  const events = stderr
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as object)
  expect(code).toBe(0)
  expect(events.at(-1)).toMatchObject({ event: 'end', total: 5, written: 5, failed: 0, submitted: 5 })
})

test('killed in the middle it goes on where it stopped: every line once, no call twice', async () => {
  const file = await writeLines('jobs.jsonl', chatLines(300))
  const out = `${file}.out`
  const killed = startCli(['submit', file, '--out', out], { env })
  await linesArrive(out, 40)
  killed.kill('SIGKILL')
  expect((await killed.ended).signal).toBe('SIGKILL')
  const before = readFileSync(out, 'utf8')
  expect(before.trimEnd().split('\n').length).toBeLessThan(300)
  // A line that a crash cut off, and no list of jobs: only the keys say what was sent.
  await appendFile(out, '{"line":9999,"job":{"id":"jo')
  await rm(`${out}.jobs`)

  expect((await callCli(['submit', file, '--out', out], { env })).code).toBe(0)
  expect(readFileSync(out, 'utf8').startsWith(before.slice(0, before.lastIndexOf('\n') + 1))).toBe(true)
  const results = readOut(out)
  expect(results.map(({ line }) => line)).toEqual(Array.from({ length: 300 }, (_, index) => index + 1))
  expect(results.every(({ job }) => job?.status === 'completed')).toBe(true)
  expect(simulator.state().billed_calls).toBe(300)
  expectNoneTwice()
  expect((await callCli(['submit', file, '--out', out], { env })).code).toBe(0)
  expect(readOut(out)).toHaveLength(300)
})

test('it goes on without a second call when the server has lost the keys as well', async () => {
  const file = await writeLines('jobs.jsonl', chatLines(200))
  const out = `${file}.out`
  const killed = startCli(['submit', file, '--out', out], { env })
  await linesArrive(out, 20)
  killed.kill('SIGKILL')
  await killed.ended
  const client = createRedis({ ...redis, role: 'commands', name: 'test-cli' })
  const keys = await keysOf(client, `${redis.prefix}:*:idempotency:*`)
  expect(keys.length).toBeGreaterThanOrEqual(200)
  await client.del(...keys)
  await closeRedis(client)

  expect((await callCli(['submit', file, '--out', out], { env })).code).toBe(0)
  expect(readOut(out)).toHaveLength(200)
  expect(simulator.state().billed_calls).toBe(200)
  expectNoneTwice()
})

test('it lives through the death and return of its server', async () => {
  const file = await writeLines('jobs.jsonl', chatLines(200))
  const out = `${file}.out`
  const running = startCli(['submit', file, '--out', out], { env })
  await linesArrive(out, 20)
  api.kill('SIGKILL')
  await api.exited
  api = await startApi(new URL(url).port)
  expect(await running.ended).toMatchObject({ code: 0, stderr: '' })
  expect(readOut(out).map(({ line }) => line)).toEqual(Array.from({ length: 200 }, (_, index) => index + 1))
  expect(simulator.state().billed_calls).toBe(200)
  expectNoneTwice()
})

test('Ctrl-C ends it with 130 and what to do; the next run goes on', async () => {
  const file = await writeLines('jobs.jsonl', chatLines(150))
  const out = `${file}.out`
  const running = startCli(['submit', file, '--out', out], { env })
  await linesArrive(out, 10)
  running.kill('SIGINT')
  const { code, stderr } = await running.ended
  expect(code).toBe(130)
  expect(stderr).toMatch(/^stopped at \d+ of 150; run the same command again to continue\n$/)
  expect(readOut(out).length).toBeLessThan(150)
  expect((await callCli(['submit', file, '--out', out], { env })).code).toBe(0)
  expect(readOut(out)).toHaveLength(150)
  expectNoneTwice()
})

test('a small window holds lines back until results are ready', async () => {
  const file = await writeLines('jobs.jsonl', chatLines(600))
  const out = `${file}.out`
  const running = startCli(['submit', file, '--out', out, '--window', '10'], { env })
  await linesArrive(out, 5)
  running.kill('SIGINT')
  await running.ended
  const response = await fetch(`${url}/v1/jobs?limit=1`, { headers: { authorization: `Bearer ${KEY}` } })
  const { data } = (await response.json()) as { data: Job[] }
  const group = await fetch(`${url}/v1/groups/${data[0]!.group}`, {
    headers: { authorization: `Bearer ${KEY}` },
  })
  expect(((await group.json()) as { total: number }).total).toBe(250)
})

test('a wrong key is 77, a server that is not there 69, and what cannot be meant 2', async () => {
  const file = await writeLines('jobs.jsonl', chatLines(1))
  const other = await writeLines('other.txt', ['something that is no result'])
  const codeOf = async (args: string[], changes: Record<string, string> = {}) =>
    (await runCli(args, { env: { ...env, ...changes } })).code
  expect(await codeOf(['submit', file], { SLUICE_KEY: 'a-wrong-key-0123456789' })).toBe(77)
  expect(await codeOf(['lanes'])).toBe(77)
  expect(await codeOf(['submit', file, '--patience', '1s'], { SLUICE_URL: 'http://127.0.0.1:1' })).toBe(69)
  expect(await codeOf(['submit'])).toBe(2)
  expect(await codeOf(['submit', join(folder, 'none.jsonl')])).toBe(2)
  expect(await codeOf(['submit', file, '--out', file])).toBe(2)
  expect(await codeOf(['submit', file, '--out', other])).toBe(2)
  expect(await readFile(other, 'utf8')).toBe('something that is no result\n')
})

test('jobs are listed, shown, followed, cancelled and retried', async () => {
  const file = await writeLines(
    'jobs.jsonl',
    chatLines(2, (index) => (index === 1 ? ' [[fault:400]]' : '')),
  )
  const [good, bad] = (await callCli(['submit', file], { env })).stdout
    .trimEnd()
    .split('\n')
    .map((line) => (JSON.parse(line) as OutLine).job!)
  const group = good!.group!

  const list = await callCli(['jobs', 'list', '--group', group], { env })
  for (const results of [false, true]) {
    const { stdout } = await callCli(
      ['jobs', 'list', '--group', group, '--json', ...(results ? ['--results'] : [])],
      { env },
    )
    const listed = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
    for (const job of listed.filter(({ status }) => status === 'completed')) {
      expect(job.result === null).toBe(!results)
      expect(job.result_omitted).toBe(results ? undefined : true)
    }
  }
  expect(list.stdout).toMatch(new RegExp(`^ID .*\n${bad!.id}  failed .*\n${good!.id}  completed .*\n$`))
  const shown = await callCli(['jobs', 'show', good!.id, '--attempts'], { env })
  expect(JSON.parse(shown.stdout)).toMatchObject({ ...good, calls: [{ outcome: 'completed' }] })

  const tail = await callCli(['tail', good!.id], { env })
  expect(tail.code).toBe(0)
  expect(tail.stdout).toMatch(/job\.queued\n.* job\.started\n.* job\.completed {2}\$0\.\d+\n$/)
  const events = (await callCli(['tail', group, '--json'], { env })).stdout.trimEnd().split('\n')
  expect(events).toHaveLength(6)
  const { id } = JSON.parse(events[3]!) as { id: string }
  const rest = await callCli(['tail', group, '--json', '--last-event-id', id], { env })
  expect(rest).toMatchObject({ code: 1, stdout: `${events.slice(4).join('\n')}\n` })

  const cancel = await callCli(['jobs', 'cancel', good!.id, 'job_none'], { env })
  expect(cancel).toMatchObject({ code: 1, stdout: '' })
  expect(cancel.stderr).toContain('the job is already completed')
  expect(await callCli(['jobs', 'retry', '--group', group], { env })).toMatchObject({
    code: 0,
    stdout: 'queued 1 again\n',
  })
})

test('schedules are made of a file, listed, shown, paused, run and deleted', async () => {
  const file = join(folder, 'schedule.json')
  const job = { type: 'chat', body: { model: 'sim/chat', messages: [{ role: 'user', content: 'again' }] } }
  await writeFile(
    file,
    JSON.stringify({ name: 'digest', cron: '0 3 * * *', time_zone: 'Europe/Berlin', job }),
  )
  const run = (...args: string[]) => callCli(['schedules', ...args], { env })
  const made = await run('create', file)
  expect(made).toMatchObject({ code: 0, stdout: expect.stringMatching(/^sch_\w+ {2}next: 20\d\d-.*Z\n$/) })
  const [id] = made.stdout.split(' ')
  expect((await run('list')).stdout).toMatch(/digest +0 3 \* \* \* \S+ +in \d+ \w+ +0 +active\n/)
  expect(await run('pause', id!)).toMatchObject({ code: 0, stdout: `${id}  paused\n` })
  expect((await run('run', id!)).stdout).toMatch(/^sch_\w+ {2}job_\w+\n$/)
  expect((await run('runs', id!)).stdout).toMatch(/\n20\S+Z +manual +created +job_\w+\n$/)
  expect(JSON.parse((await run('show', id!, '--json')).stdout)).toMatchObject({ paused: true, runs: 1 })
  expect((await run('resume', id!)).stdout).toMatch(/next: 20/)
  expect(await run('delete', id!, 'sch_none')).toMatchObject({
    code: 1,
    stdout: `${id}  deleted\n`,
    stderr: 'sch_none: no such schedule\n',
  })
  await writeFile(file, '{"every":"1 hour"}')
  expect(await run('create', file)).toMatchObject({ code: 1, stderr: expect.stringContaining('every: ') })
  expect(await run('create', join(folder, 'none.json'))).toMatchObject({ code: 2 })
})

test('what failed is counted, queued again, and taken out to be submitted', async () => {
  const lines = chatLines(4, (index) => (index === 0 ? '' : ' [[fault:422:times=1]]'))
  const file = await writeLines('jobs.jsonl', lines)
  const [{ job }] = (await callCli(['submit', file], { env })).stdout
    .split('\n', 1)
    .map((line) => JSON.parse(line) as OutLine) as [OutLine]
  const chosen = ['--group', job!.group!, '--failed-after', '1h', '--error-code', 'invalid_request_error']

  const operator = { ...env, SLUICE_KEY: ADMIN_KEY }
  const counted = await callCli(['failures', '--json', '--tenant', 'acme'], { env: operator })
  const classes = counted.stdout.trimEnd().split('\n')
  const known = classes.map((line) => JSON.parse(line) as { lane: string; code: string; count: number })
  const found = known.find(({ code }) => code === 'invalid_request_error')
  expect(found).toMatchObject({ lane: 'sim/chat', retryable: false })
  expect(found!.count).toBeGreaterThanOrEqual(3)
  const table = await callCli(['failures'], { env })
  expect(table.stdout).toMatch(/^LANE .*\nsim\/chat +invalid_request_error +\d+ .* no use\n/)

  const dry = await callCli(['redrive', ...chosen, '--dry-run'], { env })
  expect(dry).toMatchObject({ code: 0, stdout: '3 would be queued again\n', stderr: '' })
  const some = await callCli(['redrive', ...chosen, '--limit', '2'], { env })
  expect(some).toMatchObject({ code: 0, stdout: 'queued 2 again\n' })
  expect(some.stderr).toBe('stopped at --limit 2; there may be more\n')
  expect((await callCli(['tail', job!.group!], { env })).code).toBe(1)

  const out = join(folder, `${tests}-failed.jsonl`)
  const taken = await callCli(['failures', 'export', out, ...chosen], { env })
  expect(taken).toMatchObject({ code: 0, stdout: `wrote 1 failed job to ${out}\n`, stderr: '' })
  expect((await callCli(['failures', 'export', '-', ...chosen], { env })).stdout).toBe(
    readFileSync(out, 'utf8'),
  )
  expect((await callCli(['failures', 'export', out, ...chosen], { env })).code).toBe(2)
  expect((await callCli(['redrive', '--failed-after', 'soon'], { env })).code).toBe(2)
  const again = await callCli(['submit', out], { env })
  expect(again.code).toBe(0)
  expect(JSON.parse(again.stdout)).toMatchObject({ job: { status: 'completed', group: job!.group } })
})

test('an admin key sees and steers the jobs of all tenants, and --tenant narrows', async () => {
  const operator = { ...env, SLUICE_KEY: ADMIN_KEY }
  const [line] = chatLines(1, () => ' [[fault:400]]')
  const file = await writeLines('jobs.jsonl', [{ ...line, group: `seen-${tests}` }])
  const { job } = JSON.parse((await callCli(['submit', file], { env })).stdout) as { job: Job }
  const group = job.group!

  const failures = await callCli(['failures'], { env: operator })
  expect(failures.stdout).toMatch(/^TENANT +LANE .*\n(?:.*\n)*acme +sim\/chat +invalid_request_error /)
  const lines = (await callCli(['failures', '--json'], { env: operator })).stdout.trimEnd().split('\n')
  expect(JSON.parse(lines[0]!)).toMatchObject({ tenant: 'acme', lane: 'sim/chat' })
  expect((await callCli(['failures', '--tenant', 'ops'], { env: operator })).stdout).toBe('no failed jobs\n')

  const list = await callCli(['jobs', 'list', '--group', group], { env: operator })
  expect(list.stdout).toMatch(new RegExp(`^TENANT +ID .*\nacme +${job.id}  failed .*\n$`))
  const narrow = await callCli(['jobs', 'list', '--group', group, '--tenant', 'acme'], { env: operator })
  expect(narrow.stdout).toMatch(new RegExp(`^ID .*\n${job.id}  failed .*\n$`))
  const listed = (await callCli(['jobs', 'list', '--group', group, '--json'], { env: operator })).stdout
  expect(JSON.parse(listed)).toMatchObject({ tenant: 'acme', id: job.id })
  expect(JSON.parse((await callCli(['jobs', 'show', job.id], { env: operator })).stdout).id).toBe(job.id)
  const none = await callCli(['jobs', 'show', 'job_none'], { env: operator })
  expect(none).toMatchObject({ code: 1, stdout: '' })
  for (const what of [job.id, group])
    expect((await callCli(['tail', what], { env: operator })).stdout).toContain('job.failed')

  const dry = await callCli(['redrive', '--group', group, '--dry-run'], { env: operator })
  expect(dry.stdout).toBe('1 would be queued again\n  acme: 1\n')
  const cancel = await callCli(['jobs', 'cancel', job.id], { env: operator })
  expect(cancel.stderr).toContain('the job is already failed')
  const out = await callCli(['failures', 'export', '-', '--group', group], { env: operator })
  expect(out).toMatchObject({ code: 0, stdout: '' })
  expect(out.stderr).toContain('failed jobs: acme')

  const watched = ['events', '--from-first', '--event', 'job.failed', '--group', group]
  const events = await startProcess({
    args: ['main.ts', ...watched],
    env: operator,
    ready: new RegExp(`  acme  ${job.id}  job\\.failed`),
  })
  events.kill('SIGINT')
  expect((await events.exited).code).toBe(130)
  const cursor = await callCli([...watched, '--last-event-id', '1-0'], { env: operator })
  expect(cursor).toMatchObject({ code: 2, stdout: '' })
  const misspelt = await callCli(['events', '--event', 'job.done'], { env })
  expect(misspelt).toMatchObject({ code: 1, stdout: '' })
  expect(misspelt.stderr).toContain('query.event')

  // A group that several tenants have is followed for the one that is named.
  const twin = await callCli(['submit', file], { env: operator })
  expect(twin.code).toBe(1)
  const both = await callCli(['tail', group], { env: operator })
  expect(both).toMatchObject({ code: 2, stdout: '' })
  expect(both.stderr).toContain('acme, ops')
  expect((await callCli(['tail', group, '--tenant', 'ops'], { env: operator })).code).toBe(1)
  const again = await callCli(['jobs', 'retry', '--group', group], { env: operator })
  expect(again.stdout).toBe('queued 2 again\n')
})

test('an export that is cut short is no export', async () => {
  const server = createServer((_request, response) => {
    response.writeHead(200, { 'content-type': 'application/x-ndjson' })
    response.write('{"job":{},"create":null}\n', () => response.destroy())
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const out = join(folder, 'cut.jsonl')
  const { code, stderr } = await callCli(['failures', 'export', out, '--url', `http://127.0.0.1:${port}`])
  server.close()
  expect({ code, stderr }).toEqual({ code: 69, stderr: 'the export was cut short\n' })
  expect([existsSync(out), existsSync(`${out}.part`)]).toEqual([false, false])
})

test('failed jobs that the configuration names are queued again by themselves, and complete', async () => {
  const [line] = chatLines(1, () => ' [[fault:403:times=1]]')
  const answer = await fetch(`${url}/v1/jobs`, {
    method: 'POST',
    headers: { authorization: `Bearer ${KEY}`, 'content-type': 'application/json' },
    body: JSON.stringify(line),
  })
  const { id } = (await answer.json()) as Job
  const read = async () => JSON.parse((await callCli(['jobs', 'show', id], { env })).stdout) as Job
  await expect.poll(read, { timeout: 15_000 }).toMatchObject({ status: 'completed', redrives: 1 })
  const tail = (await callCli(['tail', id], { env })).stdout
  expect(tail.match(/job\.\w+/g)).toEqual([
    'job.queued',
    'job.started',
    'job.failed',
    'job.queued',
    'job.started',
    'job.completed',
  ])
})

test('a durable function is signalled, shown and deleted', async () => {
  const { durable } = createClient({ url, key: KEY })
  const approval = durable('report 7', (step) => step.signal('approval', { timeout: '1h' }))
  const send = (...value: string[]) =>
    callCli(['durable', 'signal', 'report 7', 'approval', ...value], { env })
  const showCode = async () => (await callCli(['durable', 'show', 'report 7'], { env })).code
  await expect.poll(showCode, { timeout: 20_000 }).toBe(0)
  expect(await send('yes')).toMatchObject({ code: 2, stderr: expect.stringContaining('"yes"') })
  expect(await send('{"ok": 1}')).toMatchObject({ code: 0, stdout: 'report 7  approval  {"ok":1}\n' })
  expect(await approval).toEqual({ ok: 1 })
  expect(await send()).toMatchObject({ code: 1, stderr: expect.stringContaining('got its signal at') })
  const listed = await callCli(['durable', 'list'], { env })
  expect(listed.stdout).toMatch(/^ID +STEPS +SIGNALS +AGE +KEPT\nreport 7 +1 +1 +\d+ s +in \d+ \w+\n$/)
  // An admin key sees those of all tenants.
  const operator = { ...env, SLUICE_KEY: ADMIN_KEY }
  const shown = await callCli(['durable', 'show', 'report 7'], { env: operator })
  expect(shown.stdout).toMatch(/^STEP +KIND +STATUS.*\napproval +signal +completed +\d+ s +in \d+ \w+ +-\n$/)
  expect(await callCli(['durable', 'delete', 'report 7'], { env })).toMatchObject({ code: 0 })
  expect(await showCode()).toBe(1)
})

test('operators see the lanes', async () => {
  const { stdout } = await runCli(['lanes'], { env: { ...env, SLUICE_KEY: ADMIN_KEY } })
  expect(api.output).toContain(`"dashboard":"${url}/dashboard"`)
  expect(stdout).toMatch(/^LANE +USED .*\nsim\/chat +\d+% .*\nsim\/embed +\d+% .*\n$/)
})

test('operators pause a provider, stop a wrong run in one call, and let it go on', async () => {
  const operator = { ...env, SLUICE_KEY: ADMIN_KEY }
  const paused = await callCli(['pause', '--provider', 'sim', '--for', '10m', '--reason', 'a wrong run'], {
    env: operator,
  })
  expect(paused.stdout.match(/a wrong run/g)).toHaveLength(2)
  const group = `wrong-${tests}`
  const lines = Array.from({ length: 30 }, (_, number) =>
    JSON.stringify({
      type: 'chat',
      group,
      body: { model: 'sim/chat', messages: [{ role: 'user', content: `${group} ${number}` }] },
    }),
  )
  const headers = { authorization: `Bearer ${env.SLUICE_KEY}`, 'content-type': 'application/x-ndjson' }
  await fetch(`${url}/v1/jobs/bulk`, { method: 'POST', headers, body: lines.join('\n') })
  const groups = await callCli(['groups'], { env: operator })
  expect(groups.stdout).toMatch(new RegExp(`^TENANT +GROUP .*\n(?:.*\n)*acme +${group} +30 +30 +0 +0 `))
  const unsaid = await callCli(['cancel'], { env })
  expect(unsaid).toMatchObject({ code: 2, stdout: '' })
  const dry = await callCli(['cancel', '--group', group, '--dry-run'], { env: operator })
  expect(dry.stdout).toBe('30 would be cancelled\n  acme: 30\n')
  expect((await callCli(['cancel', '--group', group], { env })).stdout).toBe('cancelled 30\n')
  const resumed = await callCli(['resume', '--provider', 'sim', '--json'], { env: operator })
  for (const lane of resumed.stdout.trim().split('\n'))
    expect(JSON.parse(lane)).toMatchObject({ paused_until: null })
  expect((await callCli(['pause'], { env: operator })).code).toBe(2)
})

test('operators make a tenant and a key, revoke it, and see who did that', async () => {
  const admin = { env: { ...env, SLUICE_KEY: ADMIN_KEY } }
  const settings = ['--settings', '{"weight":3}']
  expect(await callCli(['tenants', 'create', 'shop', ...settings], admin)).toMatchObject({ code: 0 })
  const { stdout: secret } = await callCli(['keys', 'create', 'shop', '--scopes', 'read', 'metrics'], admin)
  expect(secret).toMatch(/^sk-sluice-[\w-]{43}\n$/)
  expect((await callCli(['jobs', 'list'], { env: { ...env, SLUICE_KEY: secret.trim() } })).code).toBe(0)
  const { stdout: keys } = await callCli(['keys', 'list', 'shop', '--json'], admin)
  const { id } = JSON.parse(keys)
  expect(await callCli(['keys', 'revoke', 'shop', id], admin)).toMatchObject({ code: 0 })
  expect(await callCli(['tenants', 'delete', 'shop'], admin)).toMatchObject({ code: 0 })
  const { stdout: lines } = await callCli(['audit', '--limit', '2'], admin)
  expect(lines).toMatch(
    /^AT .*\n\S+Z +ops +127.0.0.1 +tenant.delete +shop\n\S+Z +ops .*key.revoke +shop key_/,
  )
})

test('budgets of groups are set, listed with what they allow, and removed', async () => {
  const admin = { env: { ...env, SLUICE_KEY: ADMIN_KEY } }
  const budgets = '[{"usd":5,"per":"day","time_zone":"Europe/Berlin"},{"usd":100}]'
  const [unnamed, made] = await Promise.all([
    callCli(['budgets', 'set', 'nightly', '--usd', '5'], admin),
    callCli(['budgets', 'set', 'nightly', '--budgets', budgets], { env }),
  ])
  expect([unnamed.code, made.code]).toEqual([2, 0])
  expect(unnamed.stderr).toContain('--tenant')
  const listed = await callCli(['budgets', 'list', '--owner', 'group'], admin)
  expect(listed.stdout).toMatch(
    /^TENANT .*\nacme +group +nightly +\$5\.00 +day \(Europe\S* +\$0\.00 +\$0\.00 +0% .*\nacme +group +nightly +\$100\.00 +total .* never\n$/,
  )
  // An admin key finds the tenant of a group.
  expect(await callCli(['budgets', 'delete', 'nightly'], admin)).toMatchObject({ code: 0 })
})

test('no table is wider than 80 columns, with any content', { timeout: 120_000 }, async () => {
  const long = `a-name-that-nobody-would-type-${'x'.repeat(60)}`
  const client = createClient({ url, key: KEY })
  const [create] = chatLines(1, () => ' [[fault:400]]') as [Parameters<typeof client.submit>[0]]
  const job = await client.submit({ ...create, group: long, metadata: { long } })
  await client.wait(job.id, { timeoutMs: 20_000 })
  await client.schedules.create({
    cron: '0 3 1 1 *',
    time_zone: 'America/Argentina/Buenos_Aires',
    name: long,
    job: create,
  })
  await client.flows.create({ name: long, steps: { [`step_${'y'.repeat(50)}`]: { job: create } } })
  const operator = { SLUICE_URL: url, SLUICE_KEY: ADMIN_KEY }
  const settings = JSON.stringify({ models: ['sim/*', `sim/${long}`] })
  await callCli(['tenants', 'create', 'a'.repeat(60), '--settings', settings], { env: operator })
  const key = ['--name', long, '--scopes', 'jobs', 'read', '--models', `sim/${long}`]
  await callCli(['keys', 'create', 'a'.repeat(60), ...key], { env: operator })
  const budget = ['--usd', '1234567', '--per', 'month', '--time-zone', 'America/Argentina/Buenos_Aires']
  await callCli(['budgets', 'set', long, ...budget], { env })
  for (const key of [ADMIN_KEY, KEY]) {
    const options = { url, key, patience: 5000, limit: 100 }
    const tenant = 'a'.repeat(60)
    const tables: Record<string, (terminal: Terminal) => Promise<ExitCode>> = {
      'jobs list': (terminal) => runListJobs(terminal, options),
      'schedules list': (terminal) => runListSchedules(terminal, options),
      'flows list': (terminal) => runListFlows(terminal, options),
      groups: (terminal) => runGroups(terminal, options),
      failures: (terminal) => runFailures(terminal, options),
      'budgets list': (terminal) => runListBudgets(terminal, options),
      ...(key === ADMIN_KEY && {
        lanes: (terminal) => runLanes(terminal, options),
        'tenants list': (terminal) => runListTenants(terminal, options),
        'keys list': (terminal) => runListKeys(terminal, tenant, options),
        audit: (terminal) => runAudit(terminal, options),
        'provider-batches': (terminal) => runProviderBatches(terminal, options),
      }),
    }
    for (const [name, list] of Object.entries(tables)) {
      const { terminal, text } = keepTerminal()
      expect(await list(terminal), name).toBe(0)
      const lines = text().trimEnd().split('\n')
      expect(Math.max(...lines.map((line) => line.length)), `${name}\n${text()}`).toBeLessThanOrEqual(80)
      expect(text(), name).not.toMatch(/NaN|undefined|null/)
      // Ids stay whole, so that they can be typed. Two of them do not fit into one line.
      if (name === 'audit') continue
      for (const id of text().match(/\b(?:job|sch|flow|key)_\S+/g) ?? [])
        expect(id.length, name).toBeGreaterThanOrEqual(36)
    }
  }
})

test('flows of all tenants are listed with their tenants, and one is made for the tenant that is named', {
  timeout: 120_000,
}, async () => {
  const operator = { SLUICE_URL: url, SLUICE_KEY: ADMIN_KEY }
  const file = await writeLines('flow.json', [{ name: 'of acme', steps: { one: { job: chatLines(1)[0]! } } }])
  const unnamed = await callCli(['flows', 'run', file, '--detach'], { env: operator })
  expect(unnamed).toMatchObject({ code: 2, stderr: expect.stringContaining('--tenant') })
  const made = await callCli(['flows', 'run', file, '--detach', '--tenant', 'acme'], { env: operator })
  const id = made.stdout.trim()
  const all = await callCli(['flows', 'list'], { env: operator })
  expect(all.stdout).toMatch(new RegExp(`^TENANT .*\n(.*\n)*acme +${id} `))
  const lines = (await callCli(['flows', 'list', '--json'], { env: operator })).stdout.trim().split('\n')
  expect(lines.map((line) => JSON.parse(line))).toContainEqual(
    expect.objectContaining({ tenant: 'acme', id }),
  )
  const own = await callCli(['flows', 'list', '--tenant', 'acme'], { env: operator })
  expect(own.stdout).toMatch(/^ID +NAME/)
})

test('a plan counts calls, time and cost without a call, with the server and without', async () => {
  const embeddings = Array.from({ length: 300 }, (_, index) => ({
    type: 'embedding',
    body: { model: 'sim/embed', input: `word ${index}` },
  }))
  const equal = { type: 'chat', body: { model: 'sim/chat', messages: [{ role: 'user', content: 'same' }] } }
  const file = await writeLines('plan.jsonl', [...embeddings, equal, equal])
  const local = await callCli(['plan', file, '--config', config, '--json'])
  expect(JSON.parse(local.stdout)).toMatchObject({ jobs: 302, shared: 1, calls: 3, refused: { count: 0 } })
  const asked = await callCli(['plan', file, '--config', config], { env: { ...env, SLUICE_KEY: ADMIN_KEY } })
  expect(asked).toMatchObject({ code: 0, stderr: '' })
  expect(asked.stdout).toContain('302 jobs in 3 calls (1 share the call of an equal job)')
  expect(simulator.state().calls).toBe(0)
})

test('a configuration is checked, and a key made', async () => {
  expect(await callCli(['check-config', config])).toMatchObject({
    code: 0,
    stdout: `${config}: no faults; 2 lanes, 2 tenants\n`,
  })
  const faulty = await writeLines('faulty.yaml', ['server: { port: much }', 'providers: {}', 'more: 1'])
  const faults = await callCli(['check-config', faulty])
  expect(faults.code).toBe(78)
  expect(faults.stdout).toContain('server.port: expected a number, got "much"')
  expect(faults.stdout).toContain('more: unknown member')

  const made = JSON.parse((await callCli(['keys', 'new', '--json'])).stdout) as {
    key: string
    digest: string
  }
  expect(Buffer.from(made.key, 'base64url')).toHaveLength(32)
  expect(made.digest).toMatch(/^sha256:[0-9a-f]{64}$/)
})

test('bash completes commands, commands of commands, and options behind arguments', async () => {
  const { stdout: script } = await callCli(['completion', 'bash'])
  const ask = `COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _sluice; echo "\${COMPREPLY[@]}"`
  const complete = (...words: string[]) => {
    const args = ['-c', `${script}\n${ask}`, 'bash', 'sluice', ...words]
    return spawnSync('bash', args, { encoding: 'utf8' }).stdout.trim().split(' ')
  }
  expect(complete('su')).toEqual(['submit'])
  expect(complete('jobs', '')).toEqual(expect.arrayContaining(['list', 'show', 'cancel', 'retry']))
  expect(complete('submit', 'file.jsonl', '--o')).toEqual(['--out'])
  expect(complete('failures', 'export', 'out.jsonl', '--error')).toEqual(['--error-code'])
  expect(complete('jobs', 'list', '--st')).toEqual(['--status'])
  expect(complete('jobs', 'show', 'job_1', '--att')).toEqual(['--attempts'])
})

test.each(['zsh', 'fish'])('%s knows every command', async (shell) => {
  const { stdout } = await callCli(['completion', shell])
  for (const name of [
    'submit',
    'tail',
    'lanes',
    'failures',
    'redrive',
    'plan',
    'check-config',
    'keys',
    'completion',
  ])
    expect(stdout).toContain(name)
})

test('it ends quietly when its reader stops reading', async () => {
  const file = await writeLines('jobs.jsonl', chatLines(20))
  await callCli(['submit', file, '--out', `${file}.out`], { env })
  const { job } = readOut(`${file}.out`)[0]!
  const child = await startProcess({
    args: ['-e', reader, 'tail', job!.group!, '--json'],
    env,
    ready: /code (\d+) said (.*)/,
  })
  expect(child.match.slice(1)).toEqual(['141', '""'])
})

/** Runs the command line and closes the pipe before it writes. */
const reader = `
const { spawn } = require('node:child_process')
const child = spawn(process.execPath, ['main.ts', ...process.argv.slice(1)], { stdio: ['ignore', 'pipe', 'pipe'] })
child.stdout.destroy()
let said = ''
child.stderr.on('data', (text) => { said += text })
child.on('close', (code) => console.log('code ' + code + ' said ' + JSON.stringify(said)))
`
