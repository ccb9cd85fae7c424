import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { within } from './wait.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const exitWithParent = new URL('../../scripts/exit-with-parent.mjs', import.meta.url).href

export type Exit = { code: number | null; signal: NodeJS.Signals | null }

/** A process of ours that can be killed. */
export type Child = {
  name: string
  pid: number
  /** What `ready` matched. */
  match: RegExpExecArray
  exited: Promise<Exit>
  /** Lines of its log from `warn` on, at most some thousand. */
  warnings: readonly string[]
  kill(signal: NodeJS.Signals): void
  /** Asks it to end, kills it if it does not, and reports how it ended. */
  stop(): Promise<Exit>
}

const READY_MS = 50_000
/** A worker may drain for 30 s. */
const STOP_MS = 35_000
/** How much of its last output goes into the report of its end. */
const OUTPUT_KEPT = 4000
const MOST_WARNINGS = 5000
const WARNING = /"level":[456]0\b/

export type ChildOptions = {
  /** Working directory; default: the repository. */
  cwd?: string
  /** Modules loaded before main.ts, as URLs. */
  preload?: readonly string[]
  env?: Record<string, string>
  /** The checkout whose program it runs; default: this one. */
  checkout?: string
}

/** Starts `node main.ts …` and resolves when its output matches. It ends together with this process. */
export async function startChild(args: string[], ready: RegExp, options: ChildOptions = {}): Promise<Child> {
  const name = args[0]!
  // The environment may name a Redis and a port for the real service.
  const { HOST: _host, PORT: _port, NODE_OPTIONS: _options, ...env } = process.env
  const imports = [exitWithParent, ...(options.preload ?? [])].flatMap((module) => ['--import', module])
  const child = spawn(process.execPath, [...imports, join(options.checkout ?? root, 'main.ts'), ...args], {
    cwd: options.cwd ?? root,
    env: { ...env, ...options.env, SLUICE_PARENT_PID: String(process.pid) },
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  })
  const exited = once(child, 'close').then(([code, signal]): Exit => ({ code, signal }))
  const output = { text: '' }
  const warnings: string[] = []
  for (const stream of [child.stdout, child.stderr]) collectWarnings(stream!, warnings)
  const early = exited.then(({ code, signal }) => {
    throw new Error(`${name} ended with ${code ?? signal}:\n${output.text}`)
  })
  early.catch(() => {})
  try {
    const match = await within(
      Promise.race([find(child, ready, output), early]),
      READY_MS,
      `starting ${name}`,
    )
    return {
      name,
      pid: child.pid!,
      match,
      exited,
      warnings,
      kill: (signal) => void child.kill(signal),
      async stop() {
        const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS)
        child.kill('SIGTERM')
        const exit = await exited
        clearTimeout(timer)
        return exit
      },
    }
  } catch (error) {
    child.kill('SIGKILL')
    await exited
    throw error
  }
}

function collectWarnings(stream: NodeJS.ReadableStream, warnings: string[]): void {
  createInterface({ input: stream }).on('line', (line) => {
    if (warnings.length < MOST_WARNINGS && WARNING.test(line)) warnings.push(line)
  })
}

function find(child: ChildProcess, expression: RegExp, output: { text: string }): Promise<RegExpExecArray> {
  return new Promise((resolve) => {
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        output.text = (output.text + text).slice(-OUTPUT_KEPT)
        const match = expression.exec(output.text)
        if (match !== null) resolve(match)
      })
    }
  })
}
