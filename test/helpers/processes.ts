import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { atEndOfFile } from './at-end-of-file.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

export type StartProcessOptions = {
  /** What follows `node`: `['main.ts', 'worker']`. */
  args: string[]
  /** Another program instead of `node`. */
  command?: string
  /** Added to the environment of the tests; undefined removes a variable. */
  env?: Record<string, string | undefined>
  /** Matches output on stdout or stderr that says the process is ready. */
  ready: RegExp
  /** The root of the repository by default. */
  cwd?: string
  /** The longest wait for `ready`; 50 s by default. */
  readyMs?: number
}

export type Exit = { code: number | null; signal: NodeJS.Signals | null }

export type RunningProcess = {
  pid: number
  /** What `ready` matched, with its groups. */
  match: RegExpExecArray
  /** Everything it has written so far, stdout and stderr in the order of arrival. */
  readonly output: string
  /** Resolves at the next text that the expression matches, at once if it has come already. */
  waitForOutput(expression: RegExp, timeoutMs?: number): Promise<RegExpExecArray>
  kill(signal?: NodeJS.Signals): void
  exited: Promise<Exit>
}

/**
 * Starts a process of this project and resolves when it is ready. A process that still runs after the file's tests is
 * killed.
 */
export async function startProcess(options: StartProcessOptions): Promise<RunningProcess> {
  const { args, command = process.execPath, env = {}, ready, cwd = root, readyMs = 50_000 } = options
  const child = spawn(command, args, {
    cwd,
    env: { ...process.env, NODE_OPTIONS: '', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const exited = once(child, 'close').then(([code, signal]): Exit => ({ code, signal }))
  started.push({ child, exited })
  const output = collectOutput(child)
  const waitForOutput = (expression: RegExp, timeoutMs = readyMs) =>
    waitForMatch({ output, exited, expression, timeoutMs, name: args.join(' ') })
  const match = await waitForOutput(ready).catch((error: unknown) => {
    child.kill('SIGKILL')
    throw error
  })
  if (child.pid === undefined) throw new Error('it was ready without a process number')
  return {
    pid: child.pid,
    match,
    get output() {
      return output.text
    },
    waitForOutput,
    kill: (signal = 'SIGTERM') => void child.kill(signal),
    exited,
  }
}

// The file's own hooks have run by then; this is the last resort.
const started: { child: ChildProcess; exited: Promise<Exit> }[] = []
atEndOfFile(async () => {
  for (const { child, exited } of started.splice(0)) {
    child.kill('SIGKILL')
    await exited
  }
})

type Output = { text: string; listeners: Set<() => void> }

function collectOutput(child: ChildProcess): Output {
  const output: Output = { text: '', listeners: new Set() }
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (chunk: string) => {
      output.text += chunk
      for (const listener of output.listeners) listener()
    })
  }
  return output
}

function waitForMatch(options: {
  output: Output
  exited: Promise<Exit>
  expression: RegExp
  timeoutMs: number
  name: string
}): Promise<RegExpExecArray> {
  const { output, exited, expression, timeoutMs, name } = options
  return new Promise((resolve, reject) => {
    const fail = (why: string) =>
      settle(() => reject(new Error(`${name} ${why} before it said ${expression}:\n${output.text}`)))
    const look = () => {
      const match = expression.exec(output.text)
      if (match !== null) settle(() => resolve(match))
    }
    const settle = (conclude: () => void) => {
      clearTimeout(timer)
      output.listeners.delete(look)
      conclude()
    }
    const timer = setTimeout(() => fail(`took ${timeoutMs} ms`), timeoutMs)
    output.listeners.add(look)
    look()
    exited.then(({ code, signal }) => fail(`ended with ${code ?? signal}`), reject)
  })
}
