import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { promisify } from 'node:util'

/**
 * Distinguishes a process from a later one with the same id: when it started, and on Linux in which boot. Null if there is no such process.
 * Process ids repeat, and a restarted container begins with 1 again.
 */
export async function readProcessIdentity(pid: number): Promise<string | null> {
  if (process.platform !== 'linux') {
    const answer = await promisify(execFile)('ps', ['-o', 'lstart=', '-p', String(pid)]).catch(() => null)
    return answer?.stdout.trim() || null
  }
  try {
    const [stat, boot] = await Promise.all([
      readFile(`/proc/${pid}/stat`, 'utf8'),
      readFile('/proc/sys/kernel/random/boot_id', 'utf8'),
    ])
    // proc_pid_stat(5): the name in parentheses may contain anything. After it, field 3 is the state and field 22 the start time.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    if (fields[0] === 'Z' || fields[0] === 'X') return null
    return `${boot.trim()}/${fields[19]}`
  } catch {
    return null
  }
}
