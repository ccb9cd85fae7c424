import { type ChildProcess, spawn } from 'node:child_process'
import { join } from 'node:path'

/** Tests that take longer hang, which is noticed as well. */
const MOST_MS = 5 * 60_000
/** How much of a run's output is kept. */
const KEPT_CHARACTERS = 20_000

export type TestRun = {
  /** `silent`: no test ran. */
  outcome: 'passed' | 'failed' | 'hung' | 'silent'
  output: string
}

const running = new Set<ChildProcess>()

/** Runs test files in a checkout until the first failure. */
export function runTests(
  directory: string,
  tests: readonly string[],
  titles?: string,
  stopsEarly = true,
): Promise<TestRun> {
  const vitest = join(directory, 'node_modules/vitest/vitest.mjs')
  const args = [vitest, 'run', ...(stopsEarly ? ['--bail', '1'] : []), ...tests]
  if (titles !== undefined) args.push('-t', titles)
  const child = spawn(process.execPath, args, { cwd: directory, detached: true })
  running.add(child)
  let output = ''
  const keep = (chunk: Buffer) => {
    output = (output + chunk).slice(-KEPT_CHARACTERS)
  }
  child.stdout.on('data', keep)
  child.stderr.on('data', keep)
  let isHung = false
  const timer = setTimeout(() => {
    isHung = true
    kill(child)
  }, MOST_MS)
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) => {
      clearTimeout(timer)
      running.delete(child)
      const ran = /^(\d+) passed, (\d+) failed/m.exec(output)
      const isSilent = ran === null ? code === 0 : ran[1] === '0' && ran[2] === '0' && code === 0
      const outcome = isHung ? 'hung' : isSilent ? 'silent' : code === 0 ? 'passed' : 'failed'
      resolve({ outcome, output })
    })
  })
}

/** Ends the runs under way, with their processes. */
export function endTests(): void {
  for (const child of running) kill(child)
}

/** Each run is a process group. */
function kill({ pid }: ChildProcess): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL')
  } catch {
    // it has ended
  }
}
