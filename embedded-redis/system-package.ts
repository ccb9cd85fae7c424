import { spawn } from 'node:child_process'
import { access, constants } from 'node:fs/promises'
import { join } from 'node:path'

export type Manager = 'apt-get' | 'brew' | 'apk' | 'dnf'
export type Privilege = 'root' | 'sudo' | 'none'
export type InstallPlan = { manager: Manager; commands: string[][] }

/** What each manager installs for it: a name, and options before it. A manager that is not named has nothing. */
export type PackageNames = Partial<Record<Manager, string[]>>

const MANAGERS: Manager[] = ['apt-get', 'brew', 'apk', 'dnf']

/** The package manager of this machine, as far as it can be found in the folders. */
export async function findManager(folders: string[]): Promise<Manager | undefined> {
  const found = await Promise.all(MANAGERS.map((name) => findFirst(folders, [name])))
  return MANAGERS.find((_name, index) => found[index] !== null)
}

/** The commands for this kind of machine; null if this user may not install anything. */
export function planPackage(
  manager: Manager | undefined,
  privilege: Privilege,
  names: PackageNames,
): InstallPlan | null {
  const wanted = manager === undefined ? undefined : names[manager]
  if (manager === undefined || wanted === undefined) return null
  // Homebrew refuses root and needs only its owner's rights.
  if (manager === 'brew') return { manager, commands: [['brew', 'install', '--quiet', ...wanted]] }
  if (privilege === 'none') return null
  const asRoot = privilege === 'sudo' ? ['sudo', '-n'] : []
  const quietly = [...asRoot, 'env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get', '-qq']
  const install = ['-o', 'DPkg::Lock::Timeout=120', 'install', '-y', '--no-install-recommends']
  const commands = {
    'apt-get': [
      [...quietly, 'update'],
      [...quietly, ...install, ...wanted],
    ],
    apk: [[...asRoot, 'apk', 'add', '--quiet', ...wanted]],
    dnf: [[...asRoot, 'dnf', 'install', '-y', '-q', ...wanted]],
  }
  return { manager, commands: commands[manager] }
}

/** Runs the plan; answers the last command's failure, null when all went well. */
export async function runPlan({ commands }: InstallPlan): Promise<string | null> {
  let failure: string | null = null
  // A stale package list may still be good enough, so a failed update does not end it.
  for (const command of commands) failure = await runQuietly(command)
  return failure
}

export async function readPrivilege(): Promise<Privilege> {
  if (process.getuid?.() === 0) return 'root'
  return (await runQuietly(['sudo', '-n', 'true'])) === null ? 'sudo' : 'none'
}

/** The first of these programs that can be run, looked for in all folders before the next one is. */
export async function findFirst(folders: string[], names: string[]): Promise<string | null> {
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
