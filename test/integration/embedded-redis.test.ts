import { spawnSync } from 'node:child_process'
import { chmodSync, readFileSync, rmSync, statSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Redis } from 'ioredis'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type EmbeddedRedis, startEmbeddedRedis } from '../../embedded-redis/embedded-redis.ts'
import { readProcessIdentity } from '../../lib/process-identity.ts'
import { startProcess } from '../helpers/processes.ts'

let directory = ''
const open: EmbeddedRedis[] = []

beforeEach(async () => {
  directory = await mkdtemp(join(process.env.SLUICE_TEST_RUN ?? tmpdir(), "embedded redis's "))
})
afterEach(async () => {
  await Promise.all(open.splice(0).map((redis) => redis.close()))
  await rm(directory, { recursive: true, force: true })
})

async function start(
  options: Partial<Parameters<typeof startEmbeddedRedis>[0]> = {},
): Promise<EmbeddedRedis> {
  const redis = await startEmbeddedRedis({ directory, ...options })
  open.push(redis)
  return redis
}

async function ask(redis: { url: string }, command: string, ...args: string[]): Promise<unknown> {
  const client = new Redis(redis.url)
  client.on('error', () => {})
  try {
    return await client.call(command, ...args)
  } finally {
    client.disconnect()
  }
}

async function waitUntilGone(pid: number): Promise<void> {
  // It is not a child of this process: its end can only be polled. The test's time-out is the limit.
  while ((await readProcessIdentity(pid)) !== null) await sleep(10)
}

const host = fileURLToPath(new URL('../helpers/embedded-redis-host.ts', import.meta.url))

function startHost() {
  return startProcess({ args: [host, directory], ready: /redis=(\d+) keeper=(\d+) url=(\S+)/ })
}

test('serves at once with a durable log and refuses writes rather than evict', async () => {
  const redis = await start({ maxmemory: '64mb' })
  expect(await ask(redis, 'PING')).toBe('PONG')
  for (const [name, value] of [
    ['appendonly', 'yes'],
    ['appendfsync', 'everysec'],
    ['save', ''],
    ['maxmemory-policy', 'noeviction'],
    ['maxmemory', String(64 * 1024 * 1024)],
    ['bind', '127.0.0.1'],
  ] as const) {
    expect(await ask(redis, 'CONFIG', 'GET', name)).toEqual([name, value])
  }
})

test('keeps what was written over a stop and a start', async () => {
  const first = await start()
  await ask(first, 'SET', 'kept', 'yes')
  await first.close()
  expect(await ask(await start(), 'GET', 'kept')).toBe('yes')
})

test('is gone after close, and closing twice is allowed', async () => {
  const redis = await start()
  await Promise.all([redis.close(), redis.close()])
  expect(await readProcessIdentity(redis.pid)).toBeNull()
})

test('a second start in the same folder names the process that has it', async () => {
  await start()
  await expect(startEmbeddedRedis({ directory })).rejects.toThrow(`is in use by process ${process.pid}`)
})

test('ten starts at once get ten servers', async () => {
  const servers = await Promise.all(
    Array.from({ length: 10 }, (_, index) => start({ directory: join(directory, String(index)) })),
  )
  expect(new Set(servers.map(({ port }) => port)).size).toBe(10)
  expect(new Set(servers.map(({ pid }) => pid)).size).toBe(10)
})

test('a port that is taken is reported, with the words of Redis', async () => {
  const { port } = await start()
  await expect(start({ directory: join(directory, 'other'), port })).rejects.toThrow(/already in use/)
})

test('a fault in the arguments ends the start and frees the folder', async () => {
  await expect(start({ extraArgs: ['--no-such-directive', 'yes'] })).rejects.toThrow(/did not start/)
  await start()
})

test('a crashed server is reported and comes back on its port with its data', async () => {
  const { promise: reported, resolve: report } = Promise.withResolvers<string>()
  const redis = await start({ log: (line) => line.includes('is gone') && report(line) })
  const crashed = redis.pid
  await ask(redis, 'SET', 'kept', 'yes')
  process.kill(crashed, 'SIGKILL')
  expect(await reported).toContain(`process ${crashed}`)
  expect(await ask(redis, 'GET', 'kept')).toBe('yes')
  await expect.poll(() => redis.pid).not.toBe(crashed)
})

test('it goes with its program, also after SIGKILL, and its log survives', async () => {
  const program = await startHost()
  const [, pid = '', , url = ''] = program.match
  await ask({ url }, 'SET', 'kept', 'yes')
  program.kill('SIGKILL')
  await waitUntilGone(Number(pid))
  expect(await ask(await start(), 'GET', 'kept')).toBe('yes')
})

test('a server that outlived both its program and its keeper is ended by the next start', async () => {
  const program = await startHost()
  const [, pid = '', keeper = '', url = ''] = program.match
  await ask({ url }, 'SET', 'kept', 'yes')
  // Stopped first, so that neither can react to the other's end.
  process.kill(Number(keeper), 'SIGSTOP')
  program.kill('SIGKILL')
  await program.exited
  process.kill(Number(keeper), 'SIGKILL')
  expect(await readProcessIdentity(Number(pid))).not.toBeNull()
  expect(await ask(await start(), 'GET', 'kept')).toBe('yes')
  expect(await readProcessIdentity(Number(pid))).toBeNull()
})

test('nobody gets in without the password, which no command line shows, before and after a crash', async () => {
  const redis = await start()
  const stranger = { url: `redis://127.0.0.1:${redis.port}` }
  await expect(ask(stranger, 'KEYS', '*')).rejects.toThrow(/NOAUTH/)
  await expect(ask({ url: `redis://:wrong@127.0.0.1:${redis.port}` }, 'KEYS', '*')).rejects.toThrow(
    /NOAUTH|WRONGPASS/,
  )
  const { password } = new URL(redis.url)
  expect(password).toMatch(/^[0-9a-f]{64}$/)
  if (process.platform === 'linux') {
    expect(readFileSync(`/proc/${redis.pid}/cmdline`, 'latin1')).not.toContain(password)
  }
  const crashed = redis.pid
  process.kill(crashed, 'SIGKILL')
  await expect.poll(() => redis.pid).not.toBe(crashed)
  expect(await ask(redis, 'PING')).toBe('PONG')
  await expect(ask(stranger, 'KEYS', '*')).rejects.toThrow(/NOAUTH/)
})

test('its folder is private to its own user, also an old one that all could read, whose data it keeps', async () => {
  const first = await start({ hasPassword: false })
  await ask(first, 'SET', 'kept', 'yes')
  await first.close()
  chmodSync(directory, 0o755)
  rmSync(join(directory, 'password.conf'), { force: true })
  const second = await start()
  expect(statSync(directory).mode & 0o777).toBe(0o700)
  expect(statSync(join(directory, 'password.conf')).mode & 0o777).toBe(0o600)
  expect(await ask(second, 'GET', 'kept')).toBe('yes')
  await second.close()
  // The same at the next start; another one if others could have read it.
  const third = await start()
  expect(third.url.split('@')[0]).toBe(second.url.split('@')[0])
  await third.close()
  chmodSync(join(directory, 'password.conf'), 0o644)
  const fourth = await start()
  expect(fourth.url.split('@')[0]).not.toBe(second.url.split('@')[0])
  expect(statSync(join(directory, 'password.conf')).mode & 0o777).toBe(0o600)
})

test.runIf(process.platform === 'linux' && process.getuid?.() === 0)(
  'another user of the machine can read neither its files nor its keys',
  async () => {
    const redis = await start()
    await ask(redis, 'SET', 'prompt', 'canary')
    const run = (script: string) =>
      spawnSync('setpriv', ['--reuid=65534', '--regid=65534', '--clear-groups', 'bash', '-c', script], {
        encoding: 'utf8',
      })
    expect(run('id -u').stdout.trim()).toBe('65534')
    const files = run(`cat "${directory}"/* "${directory}"/*/*; ls "${directory}"`)
    expect([files.stdout, files.status]).toEqual(['', 2])
    const keys = run(`exec 3<>/dev/tcp/127.0.0.1/${redis.port}; printf 'GET prompt\\r\\n' >&3; head -n1 <&3`)
    expect(keys.stdout).toContain('NOAUTH')
    const shown = run('cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null')
    expect(shown.stdout).not.toContain(new URL(redis.url).password)
  },
)

test('it does not keep a finished program alive', async () => {
  const program = await startProcess({ args: [host, directory, 'finish'], ready: /redis=(\d+)/ })
  expect(await program.exited).toEqual({ code: 0, signal: null })
  await waitUntilGone(Number(program.match[1]))
})
