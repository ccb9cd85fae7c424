import { type Command, InvalidArgumentError, Option } from 'commander'
import { parseDuration } from '../config/units.ts'
import type { ExitCode } from './exit.ts'
import type { Terminal } from './terminal.ts'

/** Runs the work of a command, and exits with its code. */
export type Run = (work: (terminal: Terminal) => Promise<ExitCode>) => Promise<void>

const DEFAULT_URL = 'http://127.0.0.1:8080'
export const DEFAULT_PAGE = 20

/** Adds the options of every command that sends requests to a server. */
export function server(command: Command, patience: string): Command {
  return command
    .addOption(
      new Option('--url <url>', 'address of the server')
        .env('SLUICE_URL')
        .argParser((text) => text || DEFAULT_URL)
        .default(DEFAULT_URL),
    )
    .addOption(keyOption())
    .option('--tenant <name>', 'act as this tenant (with an admin key)')
    .addOption(
      new Option('--patience <duration>', 'how long to wait for a server that does not answer')
        .argParser(toMilliseconds)
        .default(parseDuration(patience), patience),
    )
    .option('--json', 'print JSON for scripts')
}

export function keyOption(): Option {
  return new Option(
    '--key <key>',
    "the tenant's key; other users can see an argument, so prefer the variable",
  ).env('SLUICE_KEY')
}

export function toCount(text: string): number {
  const count = Number(text)
  if (!Number.isSafeInteger(count) || count < 1)
    throw new InvalidArgumentError('Expected a whole number from 1.')
  return count
}

export function toSeconds(text: string): number {
  const seconds = Number(text)
  if (!(seconds >= 0.1 && seconds <= 86_400)) throw new InvalidArgumentError('Expected seconds, from 0.1.')
  return seconds
}

export function toTime(text: string): number {
  const ago = parseDuration(text)
  const time = ago === null ? Date.parse(text) : Date.now() - ago
  if (Number.isNaN(time))
    throw new InvalidArgumentError('Expected a time such as 2026-11-24T08:00:00Z, or 2h for two hours ago.')
  return time
}

export function toMilliseconds(text: string): number {
  const ms = parseDuration(text)
  if (ms === null) throw new InvalidArgumentError('Expected a duration such as 30s or 10m.')
  return ms
}

/** Adds the options that select failed jobs. */
export function chooseFailed(command: Command): Command {
  return command
    .option('--group <group>', 'jobs of this group')
    .option('--lane <lane>', 'jobs of this lane: provider/model')
    .option('--error-code <code>', 'jobs with this error, such as timeout')
    .option('--type <type>', 'jobs of this type, such as chat or embedding')
    .option('--failed-after <time>', 'failed at this time or later; or how long ago: 2h', toTime)
    .option('--failed-before <time>', 'failed before this time; or how long ago: 2h', toTime)
}
