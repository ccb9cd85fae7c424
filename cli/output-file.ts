import { access, constants, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { explainFileFault } from '../lib/system-refusal.ts'
import { CliError, ExitCode } from './exit.ts'

/**
 * Checks whether a file can be written before any request is sent. Throws a usage error if not.
 *
 * @param path absolute
 * @param name the file's option on the command line: `--out`
 */
export async function checkOutput(path: string, name: string): Promise<void> {
  const refuse = (error: unknown): never => {
    throw refuseOutput(error, path, name)
  }
  const found = await stat(path).catch((error: unknown) => (isMissing(error) ? null : refuse(error)))
  if (found?.isDirectory())
    throw new CliError(ExitCode.usage, `${name}: ${path}: it is a folder. Name a file in it.`)
  if (found !== null) await access(path, constants.R_OK | constants.W_OK).catch(refuse)
  // Other files are written next to it.
  await access(dirname(path), constants.W_OK | constants.X_OK).catch(refuse)
}

/** Converts an error of the file system to a message for people. Other errors are returned unchanged. */
export function refuseOutput(error: unknown, path: string, name: string): unknown {
  const fault = explainFileFault(error)
  if (fault === null) return error
  const { reason, isPassing } = fault
  if (isPassing)
    return new CliError(
      ExitCode.failed,
      `${name}: ${path}: ${reason}. Free some space, and run the same command again.`,
    )
  const place = isMissing(error) ? dirname(path) : path
  const remedy = isMissing(error) ? `Create it, or name another ${name}.` : `Name another ${name}.`
  return new CliError(ExitCode.usage, `${name}: ${place}: ${reason}. ${remedy}`)
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT'
}
