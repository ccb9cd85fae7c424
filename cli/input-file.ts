import { explainFileFault } from '../lib/system-refusal.ts'
import { CliError, ExitCode } from './exit.ts'

/**
 * Converts an error of the file system to a message for people: which file, and why it cannot be read. Other errors are returned unchanged.
 */
export function refuseInput(error: unknown, file: string): unknown {
  const fault = explainFileFault(error)
  if (fault === null) return error
  const isMissing = error instanceof Error && 'code' in error && error.code === 'ENOENT'
  return new CliError(ExitCode.usage, `${file}: ${isMissing ? 'there is no such file' : fault.reason}`)
}
