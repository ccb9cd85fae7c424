import { readFile } from 'node:fs/promises'

/** The largest peak memory of these processes, bytes; 0 if the system does not report it (Linux only). */
export async function readPeakMemory(pids: readonly number[]): Promise<number> {
  const peaks = await Promise.all(
    pids.map(async (pid) => {
      const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '')
      return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0) * 1024
    }),
  )
  return Math.max(0, ...peaks)
}
