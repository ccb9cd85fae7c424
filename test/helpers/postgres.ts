import { type ChildProcess, spawn } from 'node:child_process'
import { chown, mkdtemp, readdir, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import pg from 'pg'
import {
  findFirst,
  findManager,
  planPackage,
  readPrivilege,
  runPlan,
} from '../../embedded-redis/system-package.ts'

/** Where Debian and Homebrew install the server's programs, which are not on the path there. */
const VERSIONED = ['/usr/lib/postgresql', '/opt/homebrew/opt', '/usr/pgsql-15']

/** PostgreSQL refuses to run as root. The first of these users that exists runs it instead. */
const USERS = ['postgres', 'nobody']

export type TestPostgres = {
  url: string
  pid: number
  /** The address of a database of one's own, created now. */
  database(name: string): Promise<string>
  /** Ends it like SIGKILL, or starts it again on its data. */
  kill(): Promise<void>
  /** Stops it as an administrator does. */
  stop(): Promise<void>
  /**
   * SIGSTOP to it and all of its processes: connections stay open, and nothing answers. Resolves to the function that
   * lets them go on.
   */
  freeze(): Promise<() => void>
  start(): Promise<void>
  close(): Promise<void>
}

/**
 * A PostgreSQL of one's own on a free port of 127.0.0.1; the system's package manager installs it if there is none.
 */
export async function startTestPostgres(): Promise<TestPostgres> {
  const programs = await findPrograms()
  const user = process.getuid?.() === 0 ? await findUser() : null
  const as = user === null ? {} : { uid: user.uid, gid: user.gid }
  const folder = await mkdtemp(join(tmpdir(), 'sluice-postgres-'))
  if (user !== null) await chown(folder, user.uid, user.gid)
  const data = join(folder, 'data')
  await run(
    join(programs, 'initdb'),
    ['-D', data, '-U', 'sluice', '-A', 'trust', '-E', 'UTF8', '--no-sync'],
    as,
  )
  const port = await freePort()
  const url = `postgres://sluice@127.0.0.1:${port}`
  let server: ChildProcess | null = null

  async function start(): Promise<void> {
    const settings = ['listen_addresses=127.0.0.1', `unix_socket_directories=${folder}`, 'fsync=off']
    const args = ['-D', data, '-p', String(port), ...settings.flatMap((one) => ['-c', one])]
    // It does not count among the tests' own processes: its children outlive a kill by a moment.
    const { SLUICE_TEST_RUN: _, ...env } = process.env
    const child = spawn(join(programs, 'postgres'), args, {
      ...as,
      cwd: folder,
      env,
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    let said = ''
    child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-4000)
    })
    server = child
    await waitUntilReady(`${url}/postgres`, () => (child.exitCode === null ? null : said))
  }

  async function end(signal: NodeJS.Signals): Promise<void> {
    const child = server
    if (child === null || child.exitCode !== null || child.signalCode !== null) return
    const ended = new Promise((resolve) => child.once('exit', resolve))
    child.kill(signal)
    await ended
  }

  await start()
  return {
    url,
    get pid() {
      return server!.pid!
    },
    async database(name) {
      await ask(`${url}/postgres`, `create database "${name}"`)
      return `${url}/${name}`
    },
    kill: () => end('SIGKILL'),
    stop: () => end('SIGINT'),
    async freeze() {
      const own = server!.pid!
      // Itself first, so that it starts no more of them.
      process.kill(own, 'SIGSTOP')
      const list = await run('ps', ['-A', '-o', 'pid=,ppid='], {})
      const pairs = list.split('\n').map((line) => line.trim().split(/\s+/).map(Number))
      const children = pairs.flatMap(([pid, parent]) => (parent === own ? [pid!] : []))
      for (const pid of children) process.kill(pid, 'SIGSTOP')
      return () => {
        for (const pid of [...children, own]) process.kill(pid, 'SIGCONT')
      }
    },
    start,
    async close() {
      server?.kill('SIGCONT')
      await end('SIGQUIT')
      await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 })
    },
  }
}

async function ask(url: string, text: string): Promise<void> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    await client.query(text)
  } finally {
    await client.end()
  }
}

async function waitUntilReady(url: string, failure: () => string | null): Promise<void> {
  for (;;) {
    try {
      return await ask(url, 'select 1')
    } catch (error) {
      const said = failure()
      if (said !== null) throw new Error(`PostgreSQL did not start: ${said}`, { cause: error })
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
}

async function findPrograms(): Promise<string> {
  const found = await lookForPrograms()
  if (found !== null) return found
  const folders = (process.env.PATH ?? '').split(delimiter)
  const plan = planPackage(await findManager(folders), await readPrivilege(), {
    'apt-get': ['postgresql'],
    brew: ['postgresql@15'],
    apk: ['postgresql15'],
    dnf: ['postgresql-server'],
  })
  const failure = plan === null ? 'this user may install nothing' : await runPlan(plan)
  const installed = await lookForPrograms()
  if (installed !== null) return installed
  throw new Error(
    `These tests need PostgreSQL, and it could not be installed (${failure ?? 'the package holds no server'}). ` +
      'Install it (Debian, Ubuntu: sudo apt-get install postgresql) and run them again.',
  )
}

/** The folder of `initdb` and `postgres`. */
async function lookForPrograms(): Promise<string | null> {
  const versions = await Promise.all(
    VERSIONED.map(async (folder) => {
      const names = await readdir(folder).catch(() => [])
      return names
        .sort((a, b) => b.localeCompare(a, 'en', { numeric: true }))
        .map((name) => join(folder, name, 'bin'))
    }),
  )
  const folders = [
    ...(process.env.PATH ?? '').split(delimiter),
    ...versions.flat(),
    '/usr/libexec/postgresql15',
  ]
  const initdb = await findFirst(folders, ['initdb'])
  return initdb === null ? null : initdb.slice(0, -'/initdb'.length)
}

async function findUser(): Promise<{ uid: number; gid: number }> {
  for (const name of USERS) {
    const text = await run('id', ['-u', name], {}).catch(() => null)
    if (text !== null) return { uid: Number(text), gid: Number(await run('id', ['-g', name], {})) }
  }
  throw new Error(`PostgreSQL does not run as root, and there is none of these users: ${USERS.join(', ')}`)
}

function run(file: string, args: string[], as: { uid?: number; gid?: number }): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { ...as, cwd: tmpdir(), stdio: ['ignore', 'pipe', 'pipe'] })
    let told = ''
    let said = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => (told += text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text))
    child.on('error', reject)
    child.on('close', (code) => (code === 0 ? resolve(told.trim()) : reject(new Error(`${file}: ${said}`))))
  })
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.on('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number }
      server.close(() => resolve(port))
    })
  })
}
