import { spawnSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** How to run a Python that has `httpx`, or why there is none. */
export type Python = { command: string; path: string } | { missing: string }

const HTTPX = 'httpx==0.28.1'
/** Where `httpx` is installed for the tests, once. */
const CACHE = fileURLToPath(new URL('../../node_modules/.cache/python', import.meta.url))
const INSTALL_MS = 60_000

/** The first Python that has `httpx`, or else the first for which pip can install it. */
export function findPython(): Python {
  const commands = ['python3', '/usr/bin/python3'].filter(
    (command) => spawnSync(command, ['-c', 'import sys; assert sys.version_info >= (3, 10)']).status === 0,
  )
  if (commands.length === 0) return { missing: 'no Python 3.10 or later' }
  const has = (command: string, path: string) =>
    spawnSync(command, ['-c', 'import httpx'], { env: { ...process.env, PYTHONPATH: path } }).status === 0
  for (const path of ['', CACHE])
    for (const command of commands) if (has(command, path)) return { command, path }
  const [command] = commands as [string]
  mkdirSync(CACHE, { recursive: true })
  const flags = [
    '-q',
    '--disable-pip-version-check',
    '--no-input',
    '--retries',
    '0',
    '--timeout',
    '10',
    '--target',
    CACHE,
  ]
  const pip = spawnSync(command, ['-m', 'pip', 'install', ...flags, HTTPX], { timeout: INSTALL_MS })
  if (pip.status === 0 && has(command, CACHE)) return { command, path: CACHE }
  return { missing: 'Python has no httpx (apt-get install python3-httpx), and pip cannot install it' }
}

/** `PYTHONPATH` of several folders. */
export function joinPaths(...paths: string[]): string {
  return paths.filter((path) => path !== '').join(':')
}

export const PYTHON_CLIENT = join(fileURLToPath(new URL('../..', import.meta.url)), 'clients/python')
