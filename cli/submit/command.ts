import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import { access, constants } from 'node:fs/promises'
import { resolve } from 'node:path'
import { finished } from 'node:stream/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { type Client, FIRST_PATIENCE_MS } from '../client.ts'
import { CliError, ExitCode } from '../exit.ts'
import { refuseInput } from '../input-file.ts'
import { checkOutput, refuseOutput } from '../output-file.ts'
import { connect, type ServerOptions, type Terminal } from '../terminal.ts'
import { noJournal, openJournal } from './journal.ts'
import {
  createBar,
  createProgressLines,
  estimateFinish,
  noProgress,
  type Progress,
  type ProgressView,
} from './progress.ts'
import { type Input, inspectInput } from './read-input.ts'
import { resumeOutput } from './resume-output.ts'
import { submitFile } from './submit.ts'

export type SubmitCommandOptions = ServerOptions & {
  out?: string
  json?: boolean
  window: number
  /** Retry jobs that an earlier run left failed or cancelled. */
  retryFailed?: boolean
  /** How long the server may be unavailable, ms. */
  patience: number
}

const SHOW_EVERY_MS = 1_000

/** `submit FILE`: exit code 0 if every line completed, 1 if not. */
export async function runSubmit(
  terminal: Terminal,
  file: string,
  options: SubmitCommandOptions,
): Promise<ExitCode> {
  const out = options.out === undefined ? null : resolve(terminal.cwd, options.out)
  try {
    return await submitTo(out, terminal, file, options)
  } catch (error) {
    throw out === null ? error : refuseOutput(error, out, '--out')
  }
}

/** @param out the absolute path of the file for results; null: stdout */
async function submitTo(
  out: string | null,
  terminal: Terminal,
  file: string,
  options: SubmitCommandOptions,
): Promise<ExitCode> {
  const path = resolve(terminal.cwd, file)
  if (out === path) throw new CliError(ExitCode.usage, '--out: this is the input file')
  if (out !== null) await checkOutput(out, '--out')
  let trouble: string | null = null
  const onTrouble = (now: string | null) => {
    trouble = now
  }
  const client = connect(terminal, options, { patienceMs: options.patience, onTrouble })
  await access(path, constants.R_OK).catch((error: unknown) => {
    throw refuseInput(error, file)
  })
  // Finds a wrong key or address before a long file is read.
  await client.request('GET', '/v1/models', { patienceMs: Math.min(options.patience, FIRST_PATIENCE_MS) })
  const input = await inspectInput(path)

  const written = out === null ? { lines: 0, failed: 0, last: 0 } : await resumeOutput(out, path)
  const header = { input: input.digest, url: options.url }
  const journal = out === null ? noJournal : await openJournal(`${out}.jobs`, header, written.last)
  const count = { written: written.lines, failed: written.failed, submitted: written.lines }
  let server: ServerCount = { ended: 0, estimated_finish_at: null }
  const progress = (): Progress => {
    const ended = Math.max(server.ended, count.written)
    const lines = { total: input.lines, ...count, ended }
    const finish = estimateFinish(lines, server.estimated_finish_at, terminal.now())
    return { ...lines, estimated_finish_at: finish, trouble }
  }

  const view = chooseView(terminal, options)
  const stopShowing = new AbortController()
  const showing = view === noProgress ? null : show()
  const output = out === null ? null : createWriteStream(out, { flags: 'a' })
  const broken = output === null ? null : finished(output)
  broken?.catch(() => {})
  try {
    await submitFile({
      input,
      skip: written.lines,
      window: options.window,
      retryFailed: options.retryFailed ?? false,
      client,
      journal,
      write: async (text) => {
        if (output === null) return terminal.write(text)
        if (!output.write(text)) await once(output, 'drain')
      },
      sleep: terminal.sleep,
      now: () => performance.now(),
      onSubmitted: () => count.submitted++,
      onWritten: (completed) => {
        count.written++
        if (!completed) count.failed++
      },
      onTrouble,
    })
  } catch (error) {
    if (error instanceof CliError && error.exitCode === ExitCode.interrupted && out !== null) {
      const message = `stopped at ${count.written} of ${input.lines}; run the same command again to continue`
      throw new CliError(ExitCode.interrupted, message)
    }
    throw error
  } finally {
    stopShowing.abort()
    await showing
    view.end(progress())
    output?.end()
    await broken
  }
  await journal.remove()
  if (count.failed === 0) return ExitCode.ok
  if (!options.json) terminal.note(`${count.failed} of ${input.lines} failed`)
  return ExitCode.failed

  async function show(): Promise<void> {
    // Reports no trouble and has no patience, because it asks again a second later.
    const asking = connect(terminal, options, { patienceMs: 0 })
    while (!stopShowing.signal.aborted) {
      view.show(progress())
      await delay(SHOW_EVERY_MS, undefined, { signal: stopShowing.signal }).catch(() => {})
      if (!stopShowing.signal.aborted) server = await countAtServer(asking, input, server)
    }
  }
}

type ServerCount = Pick<Progress, 'ended' | 'estimated_finish_at'>

/** The number of jobs of the input that have ended. Lines with their own group are not included. */
async function countAtServer(client: Client, { group }: Input, before: ServerCount): Promise<ServerCount> {
  try {
    const { counts, estimated_finish_at } = await client.json<{
      counts: Record<string, number>
      estimated_finish_at: string | null
    }>('GET', `/v1/groups/${group}`)
    const ended = (counts.completed ?? 0) + (counts.failed ?? 0) + (counts.cancelled ?? 0)
    return { ended, estimated_finish_at }
  } catch (error) {
    // The group does not exist yet, or the server does not answer. Calls that need an answer report that themselves.
    if (error instanceof CliError) return before
    throw error
  }
}

function chooseView({ stderr, now }: Terminal, { json }: SubmitCommandOptions): ProgressView {
  if (json) return createProgressLines((text) => void stderr.write(text))
  return stderr.isTTY ? createBar(stderr, now) : noProgress
}
