import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createClient, SluiceError } from '../../client/index.ts'
import { seed } from '../helpers/seed.ts'
import { type Stack, startStack } from '../helpers/stack.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const keys = { calm: 'key-of-calm-0123456789', killed: 'key-of-killed-0123456789' }
/** What the report of the example requests: an outline, its chapters and the whole. */
const CALLS = 5
const KILLS = 6

let stack: Stack
beforeAll(async () => {
  stack = await startStack({
    apis: 2,
    simulator: ['--latency', '200', '--output-tokens', '20'],
    extra: `tenants: { calm: { keys: [${keys.calm}] }, killed: { keys: [${keys.killed}] } }`,
  })
})
afterAll(() => stack?.stop())

type Writer = {
  child: ChildProcess
  stdout: Promise<string>
  stderr: Promise<string>
  exited: Promise<unknown[]>
}

/** Runs the example at one of the API processes. */
function write(tenant: keyof typeof keys, id: string, api = 0): Writer {
  const child = spawn(process.execPath, ['examples/typescript/durable.ts', id, 'rivers'], {
    cwd: root,
    env: {
      ...process.env,
      NODE_OPTIONS: '',
      SLUICE_URL: stack.urls[api]!,
      SLUICE_MODEL: 'sim/chat',
      SLUICE_KEY: keys[tenant],
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  return { child, stdout: text(child.stdout), stderr: text(child.stderr), exited: once(child, 'close') }
}

const open = (tenant: keyof typeof keys) => createClient({ url: stack.urls[1]!, key: keys[tenant] })

/** Approves a report as soon as it waits for that. */
async function approve(tenant: keyof typeof keys, id: string): Promise<void> {
  const { durable } = open(tenant)
  const isWaiting = async () => {
    const run = await durable.get(id).catch((error: unknown) => {
      if (error instanceof SluiceError && error.status === 404) return null
      throw error
    })
    return run?.steps.some(({ name }) => name === 'approval') ?? false
  }
  await expect.poll(isWaiting, { timeout: 20_000 }).toBe(true)
  await durable.signal(id, 'approval', { ok: true })
}

/** Numbers in [0, 1) that a seed decides (mulberry32). */
function createRandom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

test('a report whose process is killed again and again is the same report for the same price', async () => {
  const calm = write('calm', 'report-1')
  await approve('calm', 'report-1')
  const whole = await calm.stdout
  expect(whole).toMatch(/^Answer \w{8}.*\n\$0\.000\d+\n$/s)
  expect(await stack.simulator.calls()).toHaveLength(CALLS)

  const random = createRandom(seed)
  for (let kill = 0; kill < KILLS; kill++) {
    // Two at once, at times, at different API processes.
    const writers = [
      write('killed', 'report-1', kill % 2),
      ...(random() < 0.4 ? [write('killed', 'report-1')] : []),
    ]
    await new Promise((resolve) => setTimeout(resolve, 150 + random() * 450))
    for (const { child } of writers) child.kill('SIGKILL')
    await Promise.all(writers.map(({ exited }) => exited))
  }
  const last = [write('killed', 'report-1', 0), write('killed', 'report-1', 1)]
  await approve('killed', 'report-1')
  for (const { stdout, exited } of last) {
    expect(await stdout).toBe(whole)
    expect(await exited).toEqual([0, null])
  }
  // The provider's own record: each of the prompts once for each tenant, and the same bill.
  const calls = await stack.simulator.calls()
  expect(calls).toHaveLength(2 * CALLS)
  const counts = Map.groupBy(calls, ({ prompt_hash }) => prompt_hash)
  expect([...counts.values()].map((same) => same.length)).toEqual(Array(CALLS).fill(2))
  expect(await open('killed').group('report-1')).toMatchObject({ total: CALLS, counts: { completed: CALLS } })

  // At once from then on, without a call.
  const again = write('killed', 'report-1')
  expect(await again.stdout).toBe(whole)
  await expect(open('killed').durable.signal('report-1', 'approval', { ok: false })).rejects.toMatchObject({
    code: 'already_signalled',
  })
  expect(await stack.simulator.calls()).toHaveLength(2 * CALLS)
}, 60_000)
