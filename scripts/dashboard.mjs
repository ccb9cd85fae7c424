// Builds the dashboard before the first start that serves it, and again when its sources changed.
//
// Plain JavaScript on Node 18 or newer without packages, as bootstrap.mjs is; the build itself is scripts/build.ts.
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { lock } from './lock.mjs'

const builder = 'scripts/build.ts'

/** A build takes some seconds; one that takes longer than this hangs, and nothing waits for it. */
const BUILD_MS = 3 * 60_000

/**
 * True for targets that serve the page: the API, alone or with other roles, the demo, and the script that takes the
 * pictures.
 */
export function servesDashboard(root, [file, ...args]) {
  if (['demo', 'screenshots'].some((name) => file === join(root, `scripts/${name}.ts`))) return true
  return file === join(root, 'main.ts') && ['api', 'all'].includes(args[0])
}

/**
 * Builds dashboard/dist unless it is up to date with its sources. It only reports a build that fails or hangs:
 * everything else works without the page.
 * @param {{ root: string, node: string, log: (line: string) => void, buildMs?: number }} options
 */
export async function ensureDashboard({ root, node, log, buildMs = BUILD_MS }) {
  try {
    if (!existsSync(join(root, 'dashboard/vite.config.ts')) || isFresh(root)) return
    const { addHolder, unlock } = await lockDashboard(root, log, buildMs)
    try {
      if (isFresh(root)) return
      log('building the dashboard, once; this takes some seconds')
      const hash = hashSources(root)
      await runBuild(root, node, addHolder, buildMs)
      writeFileSync(join(root, stampFile), hash)
    } finally {
      unlock()
    }
  } catch (error) {
    log(`the dashboard could not be built, the rest goes on without it: ${error.message}`)
  }
}

/** `npm run build`: calls `run` under the lock, and writes the stamp if it succeeded. Answers its exit code. */
export async function buildDashboard({ root, log }, run) {
  const { unlock } = await lockDashboard(root, log, BUILD_MS)
  try {
    const hash = hashSources(root)
    const code = await run()
    if (code === 0) writeFileSync(join(root, stampFile), hash)
    return code
  } finally {
    unlock()
  }
}

export function isDashboardBuild(root, [file]) {
  return file === join(root, builder)
}

/** Emptied with the folder when a build begins, so that half a build never counts as complete. */
const stampFile = 'dashboard/dist/.sources'

function isFresh(root) {
  const stamp = join(root, stampFile)
  return existsSync(stamp) && readFileSync(stamp, 'utf8') === hashSources(root)
}

/** Of all that the page is made of: its folder, the client that it uses, and the versions of the packages. */
function hashSources(root) {
  const hash = createHash('sha256').update(readFileSync(join(root, 'package-lock.json')))
  const visit = (folder) => {
    if (!existsSync(join(root, folder))) return
    const entries = readdirSync(join(root, folder), { withFileTypes: true })
    for (const entry of entries.sort((one, other) => (one.name < other.name ? -1 : 1))) {
      const path = `${folder}/${entry.name}`
      if (path.endsWith('/dist') || entry.name === 'node_modules') continue
      if (entry.isDirectory()) visit(path)
      else hash.update(`\0${path}\0`).update(readFileSync(join(root, path)))
    }
  }
  visit('dashboard')
  visit('client')
  return hash.digest('hex')
}

function lockDashboard(root, log, buildMs) {
  return lock({
    directory: join(root, '.sluice/build.lock'),
    // The process that should end a hanging build may have died itself.
    expiresMs: 2 * buildMs,
    onWait: () => log('waiting for another build in this folder to finish'),
  })
}

/** Its output goes nowhere unless it fails. */
function runBuild(root, node, addHolder, timeout) {
  const child = spawn(node, [join(root, builder)], {
    cwd: root,
    stdio: ['ignore', 'ignore', 'pipe'],
    timeout,
    killSignal: 'SIGKILL',
  })
  if (child.pid !== undefined) addHolder(child.pid)
  let said = ''
  child.stderr.on('data', (chunk) => {
    said = (said + chunk).slice(-2_000)
  })
  return new Promise((done, fail) => {
    child.on('error', fail)
    child.on('close', (code, signal) => {
      if (code === 0) done()
      else fail(new Error(`the build ended with ${code ?? signal}\n${said.trim()}`))
    })
  })
}
