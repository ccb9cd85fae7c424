import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { styleText } from 'node:util'
import { type Client, createClient } from './client.ts'
import { CliError, ExitCode } from './exit.ts'

type Style = Parameters<typeof styleText>[0]

/** A command's interface to its process. */
export type Terminal = {
  /** Writes to stdout, not faster than it is read. */
  write(text: string): Promise<void>
  /** Writes a line for people to stderr. */
  note(text: string): void
  /** Adds colour if stdout supports it. Respects NO_COLOR and FORCE_COLOR. */
  style(style: Style, text: string): string
  stdout: NodeJS.WriteStream
  stderr: NodeJS.WriteStream
  env: NodeJS.ProcessEnv
  cwd: string
  /** Aborts at the first SIGINT or SIGTERM, with the CliError to exit with. */
  signal: AbortSignal
  sleep(ms: number): Promise<void>
  /** Unix ms. */
  now(): number
}

/** The terminal of this process. A second signal ends the process at once, and so does a closed stdout. */
export function openTerminal(process: NodeJS.Process): Terminal {
  const { stdout, stderr } = process
  const leaving = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      if (leaving.signal.aborted) process.exit(ExitCode.interrupted)
      leaving.abort(new CliError(ExitCode.interrupted, 'interrupted'))
    })
  }
  stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error
    process.exit(ExitCode.pipeClosed)
  })
  // Its messages are for people, and nobody is reading.
  stderr.on('error', () => {})
  return {
    async write(text) {
      if (!stdout.write(text)) await once(stdout, 'drain')
    },
    note: (text) => void stderr.write(`${text}\n`),
    style: (style, text) => styleText(style, text, { stream: stdout }),
    stdout,
    stderr,
    env: process.env,
    cwd: process.cwd(),
    signal: leaving.signal,
    sleep: (ms) => sleepUntil(ms, leaving.signal),
    now: Date.now,
  }
}

export type ServerOptions = { url: string; key?: string; tenant?: string }

/** A client of the server in the options. Throws a usage error if that is not an http URL. */
export function connect(
  terminal: Terminal,
  { url, key, tenant }: ServerOptions,
  { patienceMs, onTrouble }: { patienceMs: number; onTrouble?: (trouble: string | null) => void },
): Client {
  if (!/^https?:$/.test(URL.parse(url)?.protocol ?? '')) {
    throw new CliError(ExitCode.usage, `--url: expected a URL such as http://127.0.0.1:8080, got "${url}"`)
  }
  return createClient({
    url,
    key: key === '' ? undefined : key,
    ...(tenant === undefined ? {} : { tenant }),
    fetch,
    sleep: sleepUntil,
    now: () => performance.now(),
    random: Math.random,
    signal: terminal.signal,
    patienceMs,
    ...(onTrouble === undefined ? {} : { onTrouble }),
  })
}

async function sleepUntil(ms: number, signal: AbortSignal): Promise<void> {
  try {
    await delay(ms, undefined, { signal })
  } catch (error) {
    signal.throwIfAborted()
    throw error
  }
}
