import { readdir, readFile, readlink } from 'node:fs/promises'

/** In the environment of every process of a test run; its value is also the run's temporary folder. */
export const RUN_VARIABLE = 'SLUICE_TEST_RUN'

export type FoundProcess = { pid: number; command: string }

/**
 * The processes that a test run has started, at any place in the process tree: those with the run's variable in their
 * environment, and servers that work in its folder (Redis overwrites its environment). Linux only; elsewhere it finds
 * none.
 */
export async function findRunProcesses(run: string): Promise<FoundProcess[]> {
  if (process.platform !== 'linux') return []
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number)
  const found = await Promise.all(pids.map((pid) => inspectProcess(pid, run)))
  return found.filter((entry) => entry !== null)
}

async function inspectProcess(pid: number, run: string): Promise<FoundProcess | null> {
  if (pid === process.pid) return null
  try {
    const [environment, folder, command] = await Promise.all([
      readFile(`/proc/${pid}/environ`, 'utf8'),
      readlink(`/proc/${pid}/cwd`),
      readFile(`/proc/${pid}/cmdline`, 'utf8'),
    ])
    const belongs = environment.split('\0').includes(`${RUN_VARIABLE}=${run}`) || folder.startsWith(run)
    return belongs ? { pid, command: command.replaceAll('\0', ' ').trim() } : null
  } catch {
    // It ended in the meantime, or belongs to another user.
    return null
  }
}
