// Installs the packages of package-lock.json when node_modules is missing or holds others.
// Plain JavaScript on Node 18 or newer without packages, as bootstrap.mjs is.
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { lock } from './lock.mjs'

/** @param {{ root: string, log: (line: string) => void, of?: string }} options `of`: their name in messages */
export async function ensurePackages({ root, log, of = '' }) {
  if (packagesAreFresh(root)) return linkNode(root)
  const { addHolder, unlock } = await lock({
    directory: join(root, '.sluice/install.lock'),
    onWait: () => log('waiting for another installation in this folder to finish'),
  })
  try {
    if (packagesAreFresh(root)) return linkNode(root)
    log(`installing packages${of} with npm ci, once; this takes some seconds`)
    await runNpm(root, addHolder)
    writeStamp(root)
    linkNode(root)
  } finally {
    unlock()
  }
}

/** True if node_modules holds what the lockfile says. It needs no network; with a stamp it reads one file. */
export function packagesAreFresh(root) {
  const stamp = join(root, 'node_modules/.sluice-lock')
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === hashLockfile(root)) return true
  if (!matchesInstalled(root)) return false
  writeStamp(root)
  return true
}

/** Compares with npm's own record of what it installed, for users who ran npm themselves. */
function matchesInstalled(root) {
  const account = join(root, 'node_modules/.package-lock.json')
  if (!existsSync(account)) return false
  const installed = JSON.parse(readFileSync(account, 'utf8')).packages
  const wanted = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')).packages
  return Object.entries(wanted).every(([path, entry]) => {
    if (path === '') return true
    if (installed[path] !== undefined) return installed[path].version === entry.version
    return entry.optional === true && !isForThisPlatform(entry)
  })
}

/**
 * Of the optional packages only those that are certainly for this platform; about C libraries and the like npm
 * decides.
 */
function isForThisPlatform({ os, cpu, libc }) {
  if (os === undefined || cpu === undefined || libc !== undefined) return false
  return [os].flat().includes(process.platform) && [cpu].flat().includes(process.arch)
}

function hashLockfile(root) {
  return createHash('sha256')
    .update(readFileSync(join(root, 'package-lock.json')))
    .digest('hex')
}

function writeStamp(root) {
  mkdirSync(join(root, 'node_modules'), { recursive: true })
  writeFileSync(join(root, 'node_modules/.sluice-lock'), hashLockfile(root))
}

/**
 * Puts the pinned Node among the packages' commands. npm should do that. But if several packages offer the same
 * command, it removes the link again with those that are not for this platform.
 */
function linkNode(root) {
  const link = join(root, 'node_modules/.bin/node')
  const target = `../node-${process.platform}-${process.arch}/bin/node`
  if (existsSync(link) || !existsSync(join(dirname(link), target))) return
  try {
    symlinkSync(target, link)
  } catch (error) {
    // Another process was faster.
    if (error.code !== 'EEXIST') throw error
  }
}

/**
 * `npm ci` with the npm that is running this, if one is. No install script runs, on any npm: none of the packages
 * needs its own. Development and optional packages come along even under NODE_ENV=production: the pinned Node is one.
 */
function runNpm(root, addHolder) {
  const { npm_execpath: npm, npm_node_execpath: node } = process.env
  const own = npm?.endsWith('npm-cli.js') && existsSync(npm)
  const command = own ? [node && existsSync(node) ? node : process.execPath, npm] : ['npm']
  const flags = ['--ignore-scripts', '--include=dev', '--include=optional', '--no-audit', '--no-fund']
  const [file, ...args] = [...command, 'ci', ...flags, '--loglevel=error']
  const child = spawn(file, args, { cwd: root, stdio: ['ignore', 'ignore', 'inherit'] })
  if (child.pid !== undefined) addHolder(child.pid)
  return new Promise((done, fail) => {
    child.on('error', (error) => fail(new Error(`npm could not be started: ${error.message}`)))
    child.on('exit', (code, signal) => {
      if (code === 0) done()
      else fail(new Error(`npm ci ended with ${code ?? signal}; is the npm registry reachable?`))
    })
  })
}
