import { spawn } from 'node:child_process'
import { access, constants, rm, writeFile } from 'node:fs/promises'
import { delimiter, join } from 'node:path'

/** Valkey first: where somebody installed both, it is the one they chose. The two take the same arguments. */
const SERVERS = ['valkey-server', 'redis-server']

/** Where package managers put servers that a bare PATH (cron, systemd, a desktop launcher) leaves out. */
const USUAL_FOLDERS = ['/usr/local/bin', '/usr/bin', '/opt/homebrew/bin', '/usr/local/sbin', '/usr/sbin']

/** While this file exists and says 101, Debian's packages start no service. See invoke-rc.d(8). */
const SERVICE_POLICY = '/usr/sbin/policy-rc.d'

export type FindRedisOptions = {
  /** Told in one line what is about to be installed. */
  log: (line: string) => void
  /** The search path; the process's own unless given. */
  path?: string
}

export type Privilege = 'root' | 'sudo' | 'none'

export type InstallPlan = { manager: string; commands: string[][] }

/**
 * The path of a Redis or Valkey server, installed with the machine's package manager when it has none.
 * Throws an Error that says what to do when there is neither a server nor a way to get one.
 */
export async function findRedisServer({
  log,
  path = process.env.PATH ?? '',
}: FindRedisOptions): Promise<string> {
  const folders = [...path.split(delimiter), ...USUAL_FOLDERS]
  const present = await findFirst(folders, SERVERS)
  if (present !== null) return present

  const managers = await Promise.all(
    ['apt-get', 'brew', 'apk', 'dnf'].map(async (name) => ((await findFirst(folders, [name])) ? name : null)),
  )
  const plan = planInstall(managers.filter((name) => name !== null)[0], await readPrivilege())
  if (plan === null) throw new Error(explainMissing())
  log(`no Redis on this machine; installing one with ${plan.manager}`)
  const failure = await install(plan)
  // Looked for even after a failure: another process may have been installing it at the same time.
  const installed = await findFirst(folders, SERVERS)
  if (installed === null) throw new Error(explainMissing(failure ?? `${plan.manager} installed no server`))
  return installed
}

/** What to run on this kind of machine; null when nobody here may install anything. */
export function planInstall(manager: string | undefined, privilege: Privilege): InstallPlan | null {
  // Homebrew refuses root and needs no other privilege than its owner's.
  if (manager === 'brew') return { manager, commands: [['brew', 'install', '--quiet', 'redis']] }
  if (manager === undefined || privilege === 'none') return null
  const asRoot = privilege === 'sudo' ? ['sudo', '-n'] : []
  const quietly = [...asRoot, 'env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get', '-qq']
  const lines: Record<string, string[][]> = {
    'apt-get': [
      [...quietly, 'update'],
      [
        ...quietly,
        '-o',
        'DPkg::Lock::Timeout=120',
        'install',
        '-y',
        '--no-install-recommends',
        'redis-server',
      ],
    ],
    apk: [[...asRoot, 'apk', 'add', '--quiet', 'redis']],
    dnf: [[...asRoot, 'dnf', 'install', '-y', '-q', 'valkey']],
  }
  const commands = lines[manager]
  return commands === undefined ? null : { manager, commands }
}

/** Runs the plan; answers the first failure, null when all went well. */
async function install({ manager, commands }: InstallPlan): Promise<string | null> {
  const allowServices = manager === 'apt-get' ? await forbidServices() : async () => {}
  try {
    let failure: string | null = null
    // A stale package list may still be good enough, so a failed update does not end it.
    for (const command of commands) failure = await runQuietly(command)
    return failure
  } finally {
    await allowServices()
  }
}

/**
 * Keeps the package from starting a server of its own on port 6379. Best effort: without root, or where the
 * machine has a policy already, the service may start; it is never used.
 */
async function forbidServices(): Promise<() => Promise<void>> {
  try {
    await writeFile(SERVICE_POLICY, '#!/bin/sh\nexit 101\n', { mode: 0o755, flag: 'wx' })
  } catch {
    return async () => {}
  }
  return () => rm(SERVICE_POLICY, { force: true })
}

async function readPrivilege(): Promise<Privilege> {
  if (process.getuid?.() === 0) return 'root'
  return (await runQuietly(['sudo', '-n', 'true'])) === null ? 'sudo' : 'none'
}

/** Null when the command succeeded, else its name, how it ended and the last thing it said. */
function runQuietly([file = '', ...args]: string[]): Promise<string | null> {
  return new Promise((resolve) => {
    const child = spawn(file, args, { stdio: ['ignore', 'ignore', 'pipe'] })
    let said = ''
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
      said = (said + chunk).slice(-2_000)
    })
    child.on('error', (error) => resolve(error.message))
    child.on('close', (code, signal) => {
      const last = said.trim().split('\n').at(-1)
      resolve(code === 0 ? null : `${[file, ...args].join(' ')} ended with ${code ?? signal}: ${last}`)
    })
  })
}

async function findFirst(folders: string[], names: string[]): Promise<string | null> {
  for (const name of names) {
    for (const folder of folders) {
      if (folder === '') continue
      const file = join(folder, name)
      const runnable = await access(file, constants.X_OK).then(
        () => true,
        () => false,
      )
      if (runnable) return file
    }
  }
  return null
}

function explainMissing(failure?: string): string {
  return [
    'There is no Redis on this machine, and it could not be installed',
    failure === undefined ? '. ' : ` (${failure}). `,
    'Either install one (Debian, Ubuntu: sudo apt-get install redis-server; macOS: brew install redis; ',
    'Alpine: apk add redis; Fedora: dnf install valkey), or name a running one: REDIS_URL=redis://HOST:6379.',
  ].join('')
}
