import { shownWhole } from './describe-error.ts'

/** An operation that the system refuses, explained to people: what, where, why, and what to do. */
class SystemRefusalError extends Error {
  override readonly name = 'SystemRefusalError'
  readonly [shownWhole] = true
}

/** The system's error codes for files and folders, as text that follows a path. */
const FILE_FAULTS: Record<string, string> = {
  EACCES: 'this user may not use it',
  EPERM: 'this user may not use it',
  EROFS: 'the file system is read-only',
  ENOENT: 'there is no such folder',
  ENOTDIR: 'a part of this path is a file and not a folder',
  EEXIST: 'there is a file of this name',
  EISDIR: 'it is a folder',
  ELOOP: 'its links go in a circle',
  ENAMETOOLONG: 'the name is too long',
  ENOSPC: 'the disk is full',
  EDQUOT: "the user's share of the disk is used up",
}

/** Those that may go away without a change of the configuration or the command line. */
const PASSING = ['ENOSPC', 'EDQUOT']

/** Why a file or a folder cannot be used; null: not an error of the file system. */
export function explainFileFault(error: unknown): { reason: string; isPassing: boolean } | null {
  const code = readCode(error)
  const reason = FILE_FAULTS[code]
  return reason === undefined ? null : { reason, isPassing: PASSING.includes(code) }
}

/**
 * Wraps the error of a refused folder; other errors are returned unchanged.
 *
 * @param what the purpose of the folder: `data folder`
 * @param remedy what to do: a sentence
 */
export function refuseFolder(error: unknown, what: string, folder: string, remedy: string): unknown {
  const fault = explainFileFault(error)
  if (fault === null) return error
  return new SystemRefusalError(`${what} ${folder}: ${fault.reason}. ${remedy}`, { cause: error })
}

/** Wraps the error of a server that cannot listen at this address; other errors are returned unchanged. */
export function refuseListening(
  error: unknown,
  { host, port }: { host: string; port: number },
  settings: { host: string; port: string },
): unknown {
  const reason = {
    EADDRINUSE: `the port is in use. Stop what listens there, or choose another port: ${settings.port}`,
    EACCES: `this user may not listen there. Choose a port from 1024 on: ${settings.port}`,
    EADDRNOTAVAIL: `this machine does not have that address. Correct ${settings.host}`,
    ENOTFOUND: `there is no host of that name. Correct ${settings.host}`,
    EAI_AGAIN: `the name of the host cannot be looked up. Correct ${settings.host}`,
    EAFNOSUPPORT: `this machine does not know addresses of that kind. Correct ${settings.host}`,
  }[readCode(error)]
  if (reason === undefined) return error
  const address = host.includes(':') ? `[${host}]` : host
  return new SystemRefusalError(`cannot listen at ${address}:${port}: ${reason}.`, { cause: error })
}

function readCode(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : ''
}
