// Every npm script starts here, on the Node of the machine (18 or newer), before anything is installed. It installs
// the packages if they are missing or stale, builds the dashboard for targets that serve it, and runs the target on the
// Node that the packages pin.
//
//   node scripts/bootstrap.mjs main.ts api      a file, with its arguments
//   node scripts/bootstrap.mjs --test [...]     all tests; further arguments go to vitest
//   node scripts/bootstrap.mjs --check          format, lint, types, import walls, dead code, tests
//
// Plain JavaScript without packages: nothing else can be relied on yet.
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { delimiter, dirname, join, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { buildDashboard, ensureDashboard, isDashboardBuild, servesDashboard } from './dashboard.mjs'
import { ensurePackages } from './install.mjs'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const binaries = join(root, 'node_modules', '.bin')

/** A terminal's Ctrl-C reaches this process directly and through npm; the copies arrive within milliseconds. */
const SAME_SIGNAL_MS = 1_000
const PARENT_CHECK_MS = 500

/**
 * MiB of each half of the young generation, for processes that run long. V8 lets it grow to 64 on large machines,
 * which made workers 90 MiB larger and nothing faster (docs/performance.md). The Dockerfile has the same value.
 */
const YOUNG_GENERATION = '--max-semi-space-size=16'

/**
 * glibc keeps freed memory for each thread, in up to eight arenas a core, and returns little of it. With these
 * settings a worker under load takes 16 MiB less. Other C libraries ignore them. The Dockerfile and
 * scripts/package/command.mjs have the same values.
 */
const ALLOCATOR = { MALLOC_ARENA_MAX: '2', MALLOC_TRIM_THRESHOLD_: '131072' }

/**
 * Where Node keeps compiled code, so that a command of the command line starts in half of the time. The folder is
 * among the packages: only the user who installed them writes there, and it is deleted with them. A service does
 * without it: it would start faster, too, but take 30 MiB more under load.
 */
const COMPILE_CACHE = join(root, 'node_modules', '.cache', 'sluice')
/** More files do not fail by chance. */
const MOST_FILES_AGAIN = 4
const ROLES = ['api', 'worker', 'all', 'simulator']

try {
  const target = readTarget(process.argv.slice(2))
  const log = (line) => console.error(`sluice: ${line}`)
  // Other makers' clients, which tests run against the service. Nothing else needs them.
  const clients = join(root, 'test/clients')
  const needsClients = target.runsTests && existsSync(join(clients, 'package.json'))
  await Promise.all([
    ensurePackages({ root, log }),
    needsClients && ensurePackages({ root: clients, log, of: ' of test/clients' }),
  ])
  const node = findNode()
  if (servesDashboard(root, target.args)) await ensureDashboard({ root, node, log })
  process.exitCode = isDashboardBuild(root, target.args)
    ? await buildDashboard({ root, log }, () => run(node, target))
    : target.isWholeSuite && process.env.CI
      ? await runSuite(node, target, log)
      : await run(node, target)
} catch (error) {
  console.error(`sluice: ${error instanceof Error ? error.message : error}`)
  process.exitCode = 1
}

function readTarget([name, ...rest]) {
  if (name === '--test')
    return {
      args: [join(root, 'node_modules/vitest/vitest.mjs'), 'run', ...rest],
      cwd: root,
      runsTests: true,
      isWholeSuite: rest.length === 0,
    }
  if (name === '--check')
    return { args: [join(root, 'scripts/check.ts'), ...rest], cwd: root, runsTests: true }
  if (name === undefined || name.startsWith('-')) throw new Error('say what to run: FILE, --test or --check')
  const file = resolve(root, name)
  if (!existsSync(file)) throw new Error(`there is no file ${file}`)
  return { args: [file, ...rest], cwd: process.cwd(), runsTests: false }
}

/** The pinned Node if its package has one for this platform, else the running one if it is new enough. */
function findNode() {
  const wanted = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).engines.node
  const [major, minor] = wanted.match(/\d+/g).map(Number)
  const tried = []
  for (const path of [join(binaries, 'node'), process.execPath]) {
    const version = readVersion(path)
    tried.push(`${path} is ${version ?? 'not runnable'}`)
    const [ownMajor = 0, ownMinor = 0] = (version ?? '').split('.').map(Number)
    if (ownMajor > major || (ownMajor === major && ownMinor >= minor)) return path
  }
  throw new Error(
    `Node ${wanted} is needed, and ${tried.join('; ')}. Install it from https://nodejs.org/ and run this again.`,
  )
}

function readVersion(path) {
  if (path === process.execPath) return process.versions.node
  if (!existsSync(path)) return null
  const answer = spawnSync(path, ['-p', 'process.versions.node'], { encoding: 'utf8', timeout: 20_000 })
  return answer.status === 0 ? answer.stdout.trim() : null
}

/**
 * Runs all tests. Then it runs the files that failed once more, without the others and in new processes: among thousands of tests that
 * start processes, a busy machine fails one by chance. `test/helpers/totals-reporter.ts` writes the report, and adds both runs up.
 */
async function runSuite(node, target, log) {
  // A new folder: a report of an earlier run must not be taken for this one's.
  const folder = mkdtempSync(join(tmpdir(), 'sluice-tests-'))
  const report = join(folder, 'report.json')
  process.env.SLUICE_TEST_REPORT = report
  delete process.env.SLUICE_TEST_IS_AGAIN
  try {
    const code = await run(node, target)
    const failed = code === 1 && existsSync(report) ? JSON.parse(readFileSync(report, 'utf8')).failed : []
    if (failed.length === 0 || failed.length > MOST_FILES_AGAIN) return code
    log(`these files failed, and run once more, alone: ${failed.join(' ')}`)
    process.env.SLUICE_TEST_IS_AGAIN = '1'
    return await run(node, { ...target, args: [...target.args, ...failed] })
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/**
 * Runs the target and answers its exit code. It runs in a session of its own: a signal reaches it once, from here,
 * however many copies the terminal and npm send. If this process dies, the channel tells it.
 */
function run(node, { args, cwd }) {
  const preload = pathToFileURL(join(root, 'scripts/exit-with-parent.mjs')).href
  const child = spawn(node, [YOUNG_GENERATION, '--import', preload, ...args], {
    cwd,
    detached: true,
    stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
    env: {
      ...ALLOCATOR,
      ...(isCommand(args) ? { NODE_COMPILE_CACHE: COMPILE_CACHE } : {}),
      ...process.env,
      PATH: `${binaries}${delimiter}${process.env.PATH ?? ''}`,
      SLUICE_PARENT_PID: String(process.pid),
    },
  })
  const sentAt = new Map()
  const pass = (signal) => {
    if (Date.now() - (sentAt.get(signal) ?? 0) < SAME_SIGNAL_MS) return
    sentAt.set(signal, Date.now())
    child.kill(signal)
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, pass)
  whenNpmIsGone(() => pass('SIGTERM'))
  return new Promise((done, fail) => {
    child.on('error', fail)
    child.on('exit', (code, signal) => done(code ?? 128 + constants.signals[signal]))
  })
}

function isCommand([file, name]) {
  return file === join(root, 'main.ts') && !ROLES.includes(name)
}

/** Somebody who kills npm means the program that npm runs; npm cannot pass SIGKILL on. */
function whenNpmIsGone(act) {
  if (process.env.npm_lifecycle_event === undefined) return
  const parent = process.ppid
  const timer = setInterval(() => {
    if (process.ppid === parent) return
    clearInterval(timer)
    act()
  }, PARENT_CHECK_MS)
  timer.unref()
}
