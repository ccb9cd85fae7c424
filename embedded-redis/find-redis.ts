import { rm, writeFile } from 'node:fs/promises'
import { delimiter } from 'node:path'
import {
  findFirst,
  findManager,
  type InstallPlan,
  type Manager,
  type Privilege,
  planPackage,
  readPrivilege,
  runPlan,
} from './system-package.ts'

/** Valkey first: if both are installed, someone chose Valkey. The two take the same arguments. */
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

  const plan = planInstall(await findManager(folders), await readPrivilege())
  if (plan === null) throw new Error(explainMissing())
  log(`no Redis on this machine; installing one with ${plan.manager}`)
  const failure = await install(plan)
  // Looked for even after a failure: another process may have been installing it at the same time.
  const installed = await findFirst(folders, SERVERS)
  if (installed === null) throw new Error(explainMissing(failure ?? `${plan.manager} installed no server`))
  return installed
}

/** The commands for this kind of machine; null if this user may not install anything. */
export function planInstall(manager: Manager | undefined, privilege: Privilege): InstallPlan | null {
  return planPackage(manager, privilege, {
    'apt-get': ['redis-server'],
    brew: ['redis'],
    apk: ['redis'],
    dnf: ['valkey'],
  })
}

/** Runs the plan; answers the last failure, null when all went well. */
async function install(plan: InstallPlan): Promise<string | null> {
  const allowServices = plan.manager === 'apt-get' ? await forbidServices() : async () => {}
  try {
    return await runPlan(plan)
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

function explainMissing(failure?: string): string {
  return [
    'There is no Redis on this machine, and it could not be installed',
    failure === undefined ? '. ' : ` (${failure}). `,
    'Either install one (Debian, Ubuntu: sudo apt-get install redis-server; macOS: brew install redis; ',
    'Alpine: apk add redis; Fedora: dnf install valkey), or name a running one: REDIS_URL=redis://HOST:6379.',
  ].join('')
}
