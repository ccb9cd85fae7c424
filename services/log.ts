import { type DestinationStream, type Logger, type LoggerOptions, pino } from 'pino'
import { describeError, type ErrorDescription, writeError } from '../lib/describe-error.ts'

const redact = { paths: ['*.authorization', '*.headers.authorization', 'req.headers'], remove: true }

/**
 * Creates the log of a process: JSON, or text on a terminal. It shows only the parts of errors that `describeError` allows.
 *
 * @param destination default: standard output
 */
export function createLog(level: string, destination?: DestinationStream): Logger {
  const options: LoggerOptions = {
    level,
    redact,
    // Also for `err` in lines of the framework, which adds its own serializer if the log has none.
    serializers: { err: describeError },
    hooks: {
      logMethod(args, method) {
        method.apply(this, describeErrors(args) as typeof args)
      },
    },
  }
  if (destination !== undefined) return pino(options, destination)
  if (!process.stdout.isTTY) return pino(options)
  return pino({
    ...options,
    transport: {
      target: 'pino-pretty',
      options: { ignore: 'pid,hostname', translateTime: 'HH:MM:ss.l', singleLine: true },
    },
  })
}

/**
 * Replaces every error in a line's members by its description, and adds a text if there is none, because pino would use the raw message of
 * the error.
 */
function describeErrors([first, text, ...rest]: readonly unknown[]): unknown[] {
  if (typeof first !== 'object' || first === null)
    return [first, ...(text === undefined ? [] : [text]), ...rest]
  const members: Record<string, unknown> = first instanceof Error ? { err: first } : { ...first }
  for (const [name, value] of Object.entries(members)) {
    if (name === 'err' || value instanceof Error) members[name] = describeError(value)
  }
  const { err } = members as { err?: ErrorDescription }
  return [members, text ?? err?.message, ...rest]
}

let crashLog: Logger | null = null
let isReporting = false

/**
 * Logs an uncaught error, or prints it to stderr if there is no log yet, and exits with code 1. Node's own report would show every member
 * of the error.
 */
export function reportCrashes(log: Logger | null): void {
  crashLog = log
  if (isReporting) return
  isReporting = true
  const end = (error: unknown) => {
    try {
      if (crashLog?.isLevelEnabled('fatal'))
        crashLog.fatal({ err: error }, 'the process ends: an error that nobody caught')
      else process.stderr.write(`an error that nobody caught: ${writeError(error)}\n`)
    } finally {
      process.exit(1)
    }
  }
  process.on('uncaughtException', end)
  process.on('unhandledRejection', end)
}
