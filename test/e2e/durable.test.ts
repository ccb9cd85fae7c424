import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Redis } from 'ioredis'
import { expect, onTestFinished, test } from 'vitest'
import { startProcess } from '../helpers/processes.ts'
import { startTestRedis, testRedis } from '../helpers/redis.ts'
import { RUN_VARIABLE } from '../helpers/run-processes.ts'
import { chat, createBulk, createJob } from '../helpers/stack.ts'

const main = fileURLToPath(new URL('../../main.ts', import.meta.url))

async function writeConfig(redis: string): Promise<{ folder: string; path: string }> {
  const folder = await mkdtemp(join(process.env[RUN_VARIABLE] ?? tmpdir(), 'durable-'))
  const path = join(folder, 'sluice.yaml')
  await writeFile(
    path,
    `
server: { port: 0 }
redis: ${redis}
providers:
  sim: { kind: openai-compatible, base_url: "http://127.0.0.1:9/v1", api_key: none, models: { chat: {} } }
`,
  )
  return { folder, path }
}

/** A Redis of the program's own, in a folder of its own, and its process. */
async function startDurable() {
  const { folder, path } = await writeConfig('{ durable: true }')
  const all = await startProcess({
    args: [main, 'all', '--config', path],
    cwd: folder,
    ready: /"url":"(http:[^"]+)","msg":"ready"/,
    readyMs: 50_000,
  })
  onTestFinished(async () => {
    all.kill('SIGKILL')
    await all.exited
  })
  const claim = JSON.parse(await readFile(join(folder, '.sluice', 'redis', 'claim.json'), 'utf8'))
  return { url: all.match[1]!, folder, pid: claim.server.pid as number }
}

function canTrace(): boolean {
  try {
    execFileSync('strace', ['-e', 'trace=none', 'true'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

test.skipIf(!canTrace())(
  'with redis.durable, the Redis of npm start has a job on its disk before its 202: nothing is sent between a write of its log and the fsync',
  async () => {
    const { url, folder, pid } = await startDurable()
    const trace = join(folder, 'trace')
    const args = [
      '-f',
      '-y',
      '-e',
      'trace=write,writev,sendto,fdatasync,fsync',
      '-o',
      trace,
      '-p',
      String(pid),
    ]
    const strace = spawn('strace', args, { stdio: ['ignore', 'ignore', 'pipe'] })
    await once(strace.stderr, 'data') // Attached.
    await createJob(url, chat('on disk'))
    await createBulk(
      url,
      Array.from({ length: 20 }, (_, index) => chat(`number ${index}`)),
    )
    strace.kill('SIGINT')
    await once(strace, 'close')
    let unsynced = 0
    let synced = 0
    let sent = 0
    for (const line of (await readFile(trace, 'utf8')).split('\n')) {
      if (/\bwritev?\(\d+<[^>]*\.aof>/.test(line)) unsynced++
      else if (/\bf(?:data)?sync\(\d+<[^>]*\.aof>/.test(line)) {
        synced += unsynced
        unsynced = 0
      } else if (/\b(?:writev?|sendto)\(\d+<[^>]*(?:socket|TCP)/.test(line)) {
        sent++
        expect(unsynced, `sent before the fsync: ${line}`).toBe(0)
      }
    }
    expect(synced).toBeGreaterThan(0)
    expect(sent).toBeGreaterThan(0)
  },
  60_000,
)

test('with redis.durable, an API does not start over a Redis that acknowledges writes before they are on its disk', async () => {
  const { url, prefix } = testRedis()
  const { path } = await writeConfig(`{ url: "${url}", prefix: ${prefix}, durable: true }`)
  const api = await startProcess({
    args: [main, 'api', '--config', path],
    ready: /redis\.durable: Redis acknowledges what is not on its disk yet/,
    readyMs: 50_000,
  })
  expect((await api.exited).code).toBe(78)
}, 60_000)

test('with redis.durable, an API serves over a Redis with appendfsync always, and reports one that it may not inspect', async () => {
  const server = await startTestRedis({ durable: true, extraArgs: ['--appendfsync', 'always'] })
  onTestFinished(() => server.close())
  const admin = new Redis(server.url)
  onTestFinished(() => admin.disconnect())
  await admin.call('ACL', 'SETUSER', 'blind', 'on', '>pass', '~*', '&*', '+@all', '-config', '-@admin')
  for (const [user, warns] of [
    [null, false],
    ['blind:pass@', true],
  ] as const) {
    const url = user === null ? server.url : `redis://${user}127.0.0.1:${server.port}`
    const { path } = await writeConfig(`{ url: "${url}", durable: true }`)
    const api = await startProcess({
      args: [main, 'api', '--config', path],
      ready: /"url":"(http:[^"]+)","msg":"ready"/,
      readyMs: 50_000,
    })
    expect(api.output.includes('Redis does not let this user look')).toBe(warns)
    expect((await createJob(api.match[1]!, chat(`by ${user ?? 'anybody'}`))).status).toBe('queued')
    api.kill('SIGTERM')
    await api.exited
  }
}, 60_000)
