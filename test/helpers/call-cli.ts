import { Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { Command, CommanderError } from 'commander'
import { CliError, ExitCode } from '../../cli/exit.ts'
import { addCommands } from '../../cli/program.ts'
import { ConfigError } from '../../config/load.ts'
import type { CliRun } from './cli.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** What the process of the command line would have ended with. */
class ProcessExit extends Error {
  readonly code: number

  constructor(code: number) {
    super(`exit ${code}`)
    this.code = code
  }
}

/**
 * Runs a command of `sluice` to its end in this process, from its arguments to what it prints: for what a command does. A
 * process of its own takes half a second of CPU more, and is for signals, pipes and exit codes (`runCli`).
 */
export async function callCli(
  args: string[],
  { env = {} }: { env?: Record<string, string> } = {},
): Promise<CliRun> {
  const output = { stdout: '', stderr: '' }
  const keep = (name: keyof typeof output) =>
    new Writable({
      decodeStrings: false,
      write(text: string | Buffer, _encoding, done) {
        output[name] += text.toString()
        done()
      },
    })
  const acted = {
    stdout: keep('stdout'),
    stderr: keep('stderr'),
    env: { ...process.env, ...env },
    cwd: () => root,
    on() {},
    exit(code: number) {
      throw new ProcessExit(code)
    },
  }
  const program = new Command('sluice')
    .enablePositionalOptions()
    .exitOverride()
    .configureOutput({
      writeOut: (text) => void acted.stdout.write(text),
      writeErr: (text) => void acted.stderr.write(text),
    })
  addCommands(program, acted as unknown as NodeJS.Process)
  const code = await withVariables(env, () => program.parseAsync(args, { from: 'user' })).then(
    () => ExitCode.ok,
    (error: unknown) => {
      if (error instanceof ProcessExit) return error.code
      // As main.ts does.
      if (error instanceof CommanderError) return error.exitCode === 0 ? ExitCode.ok : ExitCode.usage
      if (!(error instanceof CliError || error instanceof ConfigError)) throw error
      output.stderr += `${error.message}\n`
      return error instanceof CliError ? error.exitCode : ExitCode.config
    },
  )
  return { code, signal: null, ...output }
}

/** Commander reads variables from the process itself, before the first thing that it waits for. */
function withVariables<T>(env: Record<string, string>, work: () => T): T {
  const before = Object.keys(env).map((name) => [name, process.env[name]] as const)
  Object.assign(process.env, env)
  try {
    return work()
  } finally {
    for (const [name, value] of before)
      if (value === undefined) delete process.env[name]
      else process.env[name] = value
  }
}
