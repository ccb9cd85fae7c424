import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { PassThrough } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Terminal } from '../../cli/terminal.ts'
import { atEndOfFile } from './at-end-of-file.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

export type CliRun = {
  code: number | null
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
}

export type RunningCli = { kill(signal: NodeJS.Signals): void; ended: Promise<CliRun> }

/**
 * Starts `node main.ts …` with its output in pipes, as this user or another. A process that still runs after the
 * file's tests is killed.
 */
export function startCli(
  args: string[],
  options: { cwd?: string; env?: Record<string, string>; uid?: number } = {},
): RunningCli {
  const child = spawn(process.execPath, [`${root}main.ts`, ...args], {
    cwd: options.cwd ?? root,
    env: { ...process.env, NODE_OPTIONS: '', ...options.env },
    ...(options.uid === undefined ? {} : { uid: options.uid, gid: options.uid }),
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const output = { stdout: '', stderr: '' }
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output.stdout += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    output.stderr += text
  })
  const ended = once(child, 'close').then(([code, signal]): CliRun => ({ code, signal, ...output }))
  started.push({ child, ended })
  return { kill: (signal) => void child.kill(signal), ended }
}

/** A terminal without a width that keeps what is written to it, for commands that are run in this process. */
export function keepTerminal(): { terminal: Terminal; text(): string } {
  let text = ''
  const terminal: Terminal = {
    async write(part) {
      text += part
    },
    note: () => {},
    style: (_style, part) => part,
    stdout: new PassThrough() as never,
    stderr: new PassThrough() as never,
    env: {},
    cwd: root,
    signal: new AbortController().signal,
    sleep: async (ms) => {
      await delay(ms)
    },
    now: Date.now,
  }
  return { terminal, text: () => text }
}

/** Runs a command to its end. */
export function runCli(...given: Parameters<typeof startCli>): Promise<CliRun> {
  return startCli(...given).ended
}

const started: { child: ChildProcess; ended: Promise<CliRun> }[] = []
atEndOfFile(async () => {
  for (const { child, ended } of started.splice(0)) {
    child.kill('SIGKILL')
    await ended
  }
})
