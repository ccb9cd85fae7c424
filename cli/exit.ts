/** Exit codes of the command line. 69, 77 and 78 are from sysexits.h. docs/cli.md lists them. */
export const ExitCode = {
  ok: 0,
  /** Some jobs failed, or the server refused the request. */
  failed: 1,
  usage: 2,
  unavailable: 69,
  unauthorized: 77,
  config: 78,
  /** 128 + SIGINT */
  interrupted: 130,
  /** 128 + SIGPIPE: the reader of the output has closed it. */
  pipeClosed: 141,
} as const
export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode]

/** Ends the command with this exit code and a message for people. */
export class CliError extends Error {
  override readonly name = 'CliError'
  readonly exitCode: ExitCode

  constructor(exitCode: ExitCode, message: string) {
    super(message)
    this.exitCode = exitCode
  }
}
