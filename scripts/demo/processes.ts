import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { extname } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../..', import.meta.url))
const exitWithParent = new URL('../exit-with-parent.mjs', import.meta.url).href

/** A process that takes longer than this to be ready counts as broken. */
const READY_MS = 60_000
/** One that takes longer than this to end is killed. */
const STOP_MS = 3_000
/** Warnings kept of each process, to be shown should it fail. */
const WARNINGS_KEPT = 5

export type RoleProcess = {
  /** Where it listens, if it does. */
  url: string | null
  /** Rejects when the process ends unexpectedly. */
  failed: Promise<never>
  stop(): Promise<void>
}

/** Runs `main.ts ROLE` as a process of its own; resolves when it says that it is ready. */
export async function startRole(role: 'api' | 'worker', configPath: string): Promise<RoleProcess> {
  // The environment may name a Redis and a port for the real service; the demo keeps to its own.
  const { HOST: _host, PORT: _port, NODE_OPTIONS: _options, ...env } = process.env
  const child = spawn(
    process.execPath,
    ['--import', exitWithParent, `main${extname(import.meta.filename)}`, role, '--config', configPath],
    {
      cwd: root,
      env: { ...env, SLUICE_PARENT_PID: String(process.pid) },
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    },
  )
  const exited = once(child, 'exit')
  const warnings: string[] = []
  const ready = Promise.withResolvers<string | null>()
  let stopping = false

  const read = (line: string) => {
    const entry = parseLogLine(line)
    if (entry === null || entry.level >= 40) warnings.push(line)
    if (warnings.length > WARNINGS_KEPT) warnings.shift()
    if (entry?.msg === 'ready') ready.resolve(entry.url ?? null)
  }
  for (const input of [child.stdout, child.stderr]) if (input) createInterface({ input }).on('line', read)

  const failed = exited.then(([code, signal]): Promise<never> => {
    if (stopping) return new Promise(() => {})
    throw new Error([`the ${role} process ended with ${code ?? signal}:`, ...warnings].join('\n'))
  })
  // The caller listens for the failure of a process later; until then it is not an unhandled rejection.
  failed.catch(() => {})

  async function stop(): Promise<void> {
    stopping = true
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS)
    child.kill('SIGTERM')
    await exited
    clearTimeout(timer)
  }

  const timer = setTimeout(
    () =>
      ready.reject(
        new Error([`the ${role} process is not ready after ${READY_MS} ms:`, ...warnings].join('\n')),
      ),
    READY_MS,
  )
  try {
    const url = await Promise.race([ready.promise, failed])
    return { url, failed, stop }
  } catch (error) {
    await stop()
    throw error
  } finally {
    clearTimeout(timer)
  }
}

/** Null for a line that is not one of the log's. */
function parseLogLine(line: string): { level: number; msg?: string; url?: string } | null {
  try {
    return JSON.parse(line)
  } catch {
    return null
  }
}
