import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type CliRun, runCli } from '../helpers/cli.ts'
import { testRedis, toConfig } from '../helpers/redis.ts'

/** The superuser may write anywhere, so it runs these commands as nobody. */
const user = process.getuid?.() === 0 ? { uid: 65_534 } : {}
/** Nothing listens there: a command that gets that far ends with 69. */
const NOWHERE = 'http://127.0.0.1:1'

let folder: string
let holder: Server
let port: number

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sluice-refusals-'))
  await chmod(folder, 0o755)
  await mkdir(join(folder, 'locked'))
  await writeFile(join(folder, 'file'), '')
  await writeFile(join(folder, 'jobs.jsonl'), '{"type":"chat","body":{}}\n')
  await writeFile(join(folder, 'locked', 'results.jsonl'), '')
  for (const [name, spool] of [
    ['good', 'spool'],
    ['locked', 'locked/spool'],
    ['file', 'file/spool'],
  ] as const) {
    const sim = {
      kind: 'openai-compatible',
      base_url: `${NOWHERE}/v1`,
      api_key: 'unused',
      models: { chat: {} },
    }
    const worker = { spool: join(folder, spool) }
    const config = { redis: toConfig(testRedis()), worker, providers: { sim } }
    await writeFile(join(folder, `${name}.yaml`), JSON.stringify(config))
  }
  await chmod(join(folder, 'locked'), 0o555)
  holder = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => holder.once('listening', resolve))
  port = (holder.address() as AddressInfo).port
})
afterAll(async () => {
  holder.close()
  await chmod(join(folder, 'locked'), 0o755)
  await rm(folder, { recursive: true, force: true })
})

/** It ended with this code and this message, without a stack or an error's raw code. */
function expectRefusal({ code, stdout, stderr }: CliRun, expected: { code: number; says: string }): void {
  expect(stderr).toContain(expected.says)
  expect(stdout + stderr).not.toMatch(/\n {4}at |"stack"|E[A-Z]{4,}:/)
  expect(code).toBe(expected.code)
}

describe.each([
  ['api', ['api', '--config', 'good.yaml'], {}, 'server.port, PORT or --port'],
  [
    'worker',
    ['worker', '--config', 'good.yaml'],
    { WORKER_HOST: '127.0.0.1' },
    'worker.listen.port or WORKER_PORT',
  ],
  ['simulator', ['simulator'], {}, '--port'],
])('%s', { concurrent: true }, (role, args, env, setting) => {
  test('names the port that is in use and how to choose another', async () => {
    const given = role === 'worker' ? [] : ['--port', String(port)]
    const run = await runCli([...args, ...given], {
      cwd: folder,
      env: { ...env, ...(role === 'worker' ? { WORKER_PORT: String(port) } : {}) },
    })
    const says = `cannot listen at 127.0.0.1:${port}: the port is in use. Stop what listens there, or choose another port: ${setting}.`
    expectRefusal(run, { code: 1, says })
  }, 60_000)
})

describe.each([
  [
    'the data folder in a read-only one',
    ['all', '--port', '0'],
    'locked',
    'this user may not use it',
    'redis.url',
  ],
  [
    'the spool in a read-only folder',
    ['worker', '--config', 'locked.yaml'],
    '',
    'this user may not use it',
    'worker.spool',
  ],
  [
    'the spool below a file',
    ['worker', '--config', 'file.yaml'],
    '',
    'a part of this path is a file',
    'worker.spool',
  ],
])('a process that would have %s', { concurrent: true }, (_, args, cwd, reason, setting) => {
  test('ends before it serves, and says what to do', async () => {
    const run = await runCli(args, { cwd: join(folder, cwd), ...user })
    expectRefusal(run, { code: 1, says: reason })
    expect(run.stderr).toContain(setting)
    expect(run.stderr).toContain(folder)
    expect(run.stdout).not.toContain('"msg":"ready"')
  }, 60_000)
})

describe.each([
  ['missing/results.jsonl', 'missing: there is no such folder. Create it, or name another'],
  ['locked/new.jsonl', 'locked/new.jsonl: this user may not use it. Name another'],
  ['file/results.jsonl', 'a part of this path is a file and not a folder. Name another'],
])('results to %s', { concurrent: true }, (out, says) => {
  test.each([
    ['submit', ['submit', 'jobs.jsonl', '--out', out], '--out'],
    ['failures export', ['failures', 'export', out], 'OUT'],
  ])(
    '%s refuses before it asks the server',
    async (_, args, name) => {
      const run = await runCli([...args, '--url', NOWHERE, '--patience', '1s'], { cwd: folder, ...user })
      expectRefusal(run, { code: 2, says: `${name}: ${folder}/` })
      expect(run.stderr).toContain(`${says} ${name}.`)
    },
    60_000,
  )
})

test.each([
  ['a folder', 'locked', 'it is a folder. Name a file in it.'],
  ['a file of somebody else', 'locked/results.jsonl', 'this user may not use it. Name another --out.'],
])(
  'submit refuses %s as --out',
  async (_, out, says) => {
    const args = ['submit', 'jobs.jsonl', '--out', out, '--url', NOWHERE, '--patience', '1s']
    expectRefusal(await runCli(args, { cwd: folder, ...user }), { code: 2, says })
  },
  60_000,
)
