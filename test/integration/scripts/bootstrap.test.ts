import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cp, mkdir, mkdtemp, readFile, realpath, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { readProcessIdentity } from '../../../lib/process-identity.ts'

const scripts = fileURLToPath(new URL('../../../scripts', import.meta.url))
/** Without what npm and the tests put in front of the machine's own commands, but with a Node that is new enough. */
const path = [
  dirname(process.execPath),
  ...(process.env.PATH ?? '').split(':').filter((folder) => !folder.includes('node_modules')),
].join(':')

/** A repository with one small package, so that npm works and needs no registry. */
let root = ''
const started: ChildProcess[] = []

/** The packages of such a repository, installed once for all tests that are about something else. */
let installed = ''

beforeAll(async () => {
  installed = await layOut()
  root = installed
  await write('warm-up.ts', '')
  expect(await start('warm-up.ts').ended).toMatchObject({ code: 0 })
})
afterAll(() => rm(installed, { recursive: true, force: true }))

beforeEach(async () => {
  root = await layOut()
})
afterEach(async () => {
  for (const child of started.splice(0)) {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGKILL')
      await once(child, 'close')
    }
  }
  await rm(root, { recursive: true, force: true })
})

async function layOut(): Promise<string> {
  const folder = await realpath(await mkdtemp(join(process.env.SLUICE_TEST_RUN ?? tmpdir(), 'bare clone ')))
  await cp(scripts, join(folder, 'scripts'), { recursive: true })
  await mkdir(join(folder, 'part'))
  await writeFile(join(folder, 'part/package.json'), JSON.stringify({ name: 'part', version: '1.0.0' }))
  await writeManifest(folder)
  return folder
}

/** Puts the packages where `npm ci` would. */
async function install(): Promise<void> {
  const folder = 'node_modules'
  await cp(join(installed, folder), join(root, folder), { recursive: true, verbatimSymlinks: true })
}

async function writeManifest(folder: string): Promise<void> {
  const version = '1.0.0'
  const scripts = { listen: 'exec node scripts/bootstrap.mjs listen.ts' }
  const manifest = { name: 'clone', version, type: 'module', engines: { node: '>=24.0' }, scripts }
  const dependencies = { part: 'file:part' }
  await writeFile(join(folder, 'package.json'), JSON.stringify({ ...manifest, dependencies }))
  const packages = {
    '': { name: 'clone', version, dependencies },
    part: { version: '1.0.0' },
    'node_modules/part': { resolved: 'part', link: true },
  }
  const lock = { name: 'clone', version, lockfileVersion: 3, requires: true, packages }
  await writeFile(join(folder, 'package-lock.json'), JSON.stringify(lock))
}

async function write(name: string, source: string): Promise<void> {
  await writeFile(join(root, name), source)
}

function start(...args: string[]) {
  return run(process.execPath, join(root, 'scripts/bootstrap.mjs'), ...args)
}

function run(command: string, ...args: string[]) {
  const env: NodeJS.ProcessEnv = { ...process.env, PATH: path, NODE_OPTIONS: '' }
  for (const name of Object.keys(env)) if (name.startsWith('npm_')) delete env[name]
  const child = spawn(command, args, { cwd: root, env, stdio: ['ignore', 'pipe', 'pipe'] })
  started.push(child)
  const said = { out: '', err: '' }
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    said.out += chunk
  })
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    said.err += chunk
  })
  const ended = once(child, 'close').then(([code]) => ({ code: Number(code), ...said }))
  const waitFor = async (expression: RegExp) => {
    for (;;) {
      const match = expression.exec(said.out)
      if (match !== null) return match
      await once(child.stdout, 'data')
    }
  }
  return { child, ended, waitFor, said }
}

async function waitUntilGone(pid: number): Promise<void> {
  while ((await readProcessIdentity(pid)) !== null) await sleep(10)
}

const listener = `
  const seen = []
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(name, () => {
    console.log('got ' + name)
    seen.push(name)
    // Time for a second copy to come, if one does.
    setTimeout(() => { console.log('all ' + seen); process.exit(7) }, 300)
  })
  setInterval(() => {}, 1000)
  console.log('pid=' + process.pid + ' up')
`

describe('installing', () => {
  test('happens on the first run, in one line, and not on the second', async () => {
    await write('hello.ts', "const who: string = 'you'\nconsole.log('hello', who)")
    const first = await start('hello.ts').ended
    expect(first).toMatchObject({ code: 0, out: 'hello you\n' })
    expect(first.err.trim().split('\n')).toEqual([expect.stringContaining('installing packages')])
    expect(await start('hello.ts').ended).toEqual({ code: 0, out: 'hello you\n', err: '' })
  })

  test('happens again when the lockfile changes', async () => {
    await write('hello.ts', '')
    await start('hello.ts').ended
    const lock = await readFile(join(root, 'package-lock.json'), 'utf8')
    await writeFile(join(root, 'package-lock.json'), lock.replace('"1.0.0"}', '"1.0.1"}'))
    await writeFile(join(root, 'part/package.json'), JSON.stringify({ name: 'part', version: '1.0.1' }))
    expect((await start('hello.ts').ended).err).toContain('installing packages')
  })

  test('is left alone when somebody ran npm themselves', async () => {
    await write('hello.ts', '')
    await promisify(execFile)('npm', ['ci', '--no-audit', '--no-fund'], {
      cwd: root,
      env: { ...process.env, PATH: path },
    })
    expect(await start('hello.ts').ended).toEqual({ code: 0, out: '', err: '' })
  })

  test('is done once for runs that begin together', async () => {
    await write('hello.ts', "console.log('hello')")
    const runs = await Promise.all([1, 2, 3].map(() => start('hello.ts').ended))
    expect(runs.map(({ code, out }) => ({ code, out }))).toEqual(Array(3).fill({ code: 0, out: 'hello\n' }))
    expect(runs.filter(({ err }) => err.includes('installing packages'))).toHaveLength(1)
  })

  test('goes on after one that was killed', async () => {
    await write('hello.ts', "console.log('hello')")
    const killed = start('hello.ts')
    await once(killed.child.stderr, 'data')
    killed.child.kill('SIGKILL')
    await killed.ended
    expect(await start('hello.ts').ended).toMatchObject({ code: 0, out: 'hello\n' })
  })

  test('says what went wrong and frees the folder', async () => {
    await write('hello.ts', '')
    await writeFile(join(root, 'package-lock.json'), '{"lockfileVersion": 3, "packages": {}}')
    const { code, err } = await start('hello.ts').ended
    expect(code).toBe(1)
    expect(err).toContain('npm ci ended with 1')
    await expect(stat(join(root, '.sluice/install.lock'))).rejects.toThrow('ENOENT')
  })
})

describe('the dashboard', () => {
  const builder = (then: string) => `
    import { mkdirSync, writeFileSync } from 'node:fs'
    mkdirSync('dashboard/dist', { recursive: true })
    writeFileSync('dashboard/dist/index.html', 'built')
    ${then}`
  beforeEach(async () => {
    await mkdir(join(root, 'dashboard/src'), { recursive: true })
    await write('dashboard/vite.config.ts', '')
    await write('dashboard/src/page.ts', 'one')
    await write('scripts/build.ts', builder(''))
    await write('main.ts', "console.log('up')")
    await install()
  })

  test('is built before the first start that serves it, and when its sources changed', async () => {
    await expect(stat(join(root, 'dashboard/dist'))).rejects.toThrow('ENOENT')
    const runs = await Promise.all([start('main.ts', 'api').ended, start('main.ts', 'all').ended])
    expect(runs.map(({ code, out }) => ({ code, out }))).toEqual(Array(2).fill({ code: 0, out: 'up\n' }))
    expect(runs.filter(({ err }) => err.includes('building the dashboard'))).toHaveLength(1)
    expect(await start('main.ts', 'api').ended).toEqual({ code: 0, out: 'up\n', err: '' })
    await write('dashboard/src/page.ts', 'two')
    expect((await start('main.ts', 'api').ended).err).toContain('building the dashboard')
  })

  test('stops nobody when it cannot be built, and says why', async () => {
    await write('scripts/build.ts', builder("throw new Error('no such part')"))
    const { code, out, err } = await start('main.ts', 'api').ended
    expect({ code, out }).toEqual({ code: 0, out: 'up\n' })
    expect(err).toContain('the dashboard could not be built')
    expect(err).toContain('no such part')
  })

  test('stops nobody when its build hangs, or when one was left hanging', async () => {
    await write('scripts/build.ts', builder('setInterval(() => {}, 1_000)'))
    const lines: string[] = []
    const { ensureDashboard } = (await import(join(root, 'scripts/dashboard.mjs'))) as {
      ensureDashboard: (options: object) => Promise<void>
    }
    const ensure = () =>
      ensureDashboard({ root, node: process.execPath, log: (line: string) => lines.push(line), buildMs: 500 })
    await ensure()
    expect(lines.at(-1)).toContain('could not be built')
    // Held by a living process, for longer than any build takes.
    const lock = join(root, '.sluice/build.lock')
    await mkdir(lock)
    await write('.sluice/build.lock/pids', `${process.pid}\n`)
    await ensure()
    expect(lines.filter((line) => line.includes('could not be built'))).toHaveLength(2)
    await expect(stat(lock)).rejects.toThrow('ENOENT')
  })

  test('is not built again after it was built by hand', async () => {
    expect((await start('scripts/build.ts').ended).code).toBe(0)
    expect(await start('main.ts', 'api').ended).toEqual({ code: 0, out: 'up\n', err: '' })
  })
})

describe('all tests in CI', () => {
  /** Stands for vitest: it fails in these files, in a second run only where they are still broken. */
  async function writeRunner(failed: string[], isBroken: boolean): Promise<void> {
    await install()
    await mkdir(join(root, 'node_modules/vitest'), { recursive: true })
    await write(
      'node_modules/vitest/vitest.mjs',
      `import { writeFileSync } from 'node:fs'
      const files = process.argv.slice(3)
      console.log(['ran', ...files].join(' '))
      const { SLUICE_TEST_REPORT: report, SLUICE_TEST_IS_AGAIN: again } = process.env
      if (again !== '1') writeFileSync(report, ${JSON.stringify(JSON.stringify({ failed }))})
      process.exitCode = again !== '1' || ${isBroken} ? 1 : 0`,
    )
  }
  beforeEach(() => {
    vi.stubEnv('CI', 'true')
    // As in a second run of these tests themselves.
    vi.stubEnv('SLUICE_TEST_IS_AGAIN', '1')
    return () => void vi.unstubAllEnvs()
  })

  test.each([
    [false, 0],
    [true, 1],
  ])('run the files that failed once more, alone; broken still: %s', async (isBroken, code) => {
    await writeRunner(['test/a.test.ts', 'test/b.test.ts'], isBroken)
    const { err, ...ended } = await start('--test').ended
    expect(ended).toEqual({ code, out: 'ran\nran test/a.test.ts test/b.test.ts\n' })
    expect(err).toContain('run once more, alone: test/a.test.ts test/b.test.ts')
  })

  test.each([
    ['many files failed', ['a', 'b', 'c', 'd', 'e'], [], 'true'],
    ['something else failed', [], [], 'true'],
    ['a part was asked for', ['a'], ['a'], 'true'],
    ['it is not CI', ['a'], [], ''],
  ])('run once where %s', async (_, failed, args, ci) => {
    await writeRunner(failed, false)
    vi.stubEnv('CI', ci)
    vi.stubEnv('SLUICE_TEST_REPORT', join(root, 'unused.json'))
    if (ci === '' || args.length > 0) vi.stubEnv('SLUICE_TEST_IS_AGAIN', undefined)
    const { code, out } = await start('--test', ...args).ended
    expect({ code, out }).toEqual({ code: 1, out: `${['ran', ...args].join(' ')}\n` })
  })
})

describe('running', () => {
  beforeEach(async () => {
    await write('warm-up.ts', '')
    await install()
  })

  test('passes arguments on, puts the packages on the path, and answers the exit code', async () => {
    await write(
      'look.ts',
      'console.log(JSON.stringify([process.argv.slice(2), process.env.PATH])); process.exit(3)',
    )
    const { code, out } = await start('look.ts', '--a b', '*').ended
    const [args, childPath] = JSON.parse(out)
    expect(code).toBe(3)
    expect(args).toEqual(['--a b', '*'])
    expect(childPath.startsWith(`${root}/node_modules/.bin:`)).toBe(true)
  })

  test('a program that dies of a signal gives 128 and its number', async () => {
    await write('die.ts', "process.kill(process.pid, 'SIGKILL'); setInterval(() => {}, 1000)")
    expect((await start('die.ts').ended).code).toBe(137)
  })

  test('an unknown file, and no file at all, are refused before anything is done', async () => {
    expect(await start('nothing.ts').ended).toMatchObject({
      code: 1,
      err: `sluice: there is no file ${root}/nothing.ts\n`,
    })
    expect((await start().ended).err).toContain('say what to run')
  })

  test.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)(
    '%s reaches the program once, however many copies come',
    async (signal) => {
      await write('listen.ts', listener)
      const { child, ended, waitFor } = start('listen.ts')
      await waitFor(/up/)
      child.kill(signal)
      await waitFor(/got/)
      child.kill(signal)
      expect(await ended).toMatchObject({ code: 7, out: expect.stringContaining(`all ${signal}\n`) })
    },
  )

  test('the program gets SIGTERM when this process is killed', async () => {
    await write('listen.ts', listener)
    const { child, ended, waitFor, said } = start('listen.ts')
    const [, pid = ''] = await waitFor(/pid=(\d+) up/)
    child.kill('SIGKILL')
    await ended
    await waitUntilGone(Number(pid))
    expect(said.out).toContain('all SIGTERM')
  })

  test('SIGTERM to npm is SIGTERM to the program, and npm waits for it', async () => {
    await write('listen.ts', listener)
    const { child, ended, waitFor } = run('npm', 'run', '--silent', 'listen')
    const [, pid = ''] = await waitFor(/pid=(\d+) up/)
    child.kill('SIGTERM')
    expect(await ended).toMatchObject({ code: 7, out: expect.stringContaining('all SIGTERM\n') })
    expect(await readProcessIdentity(Number(pid))).toBeNull()
  })

  test('the program gets SIGTERM when npm is killed', async () => {
    await write('listen.ts', listener)
    const { child, ended, waitFor } = run('npm', 'run', '--silent', 'listen')
    const [, pid = ''] = await waitFor(/pid=(\d+) up/)
    child.kill('SIGKILL')
    expect((await ended).out).toContain('all SIGTERM\n')
    await waitUntilGone(Number(pid))
  })

  test('a Node that is too old is refused with what to do', async () => {
    const manifest = await readFile(join(root, 'package.json'), 'utf8')
    await writeFile(join(root, 'package.json'), manifest.replace('>=24.0', '>=99.1'))
    const { code, err } = await start('warm-up.ts').ended
    expect(code).toBe(1)
    expect(err).toMatch(/Node >=99\.1 is needed, and .*nodejs\.org/)
  })
})
