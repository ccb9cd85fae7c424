import { createReadStream } from 'node:fs'
import { stat, truncate } from 'node:fs/promises'
import { readLines } from '../../batches/read-lines.ts'
import { CliError, ExitCode } from '../exit.ts'
import { readRequests } from './read-input.ts'
import { placeOf, readResult } from './render-result.ts'

/** The progress of an earlier run: number of written lines, how many of them failed, and the number of the last line. */
export type Written = { lines: number; failed: number; last: number }

/** The first characters of lines of results. */
const beginnings = ['{"line":', '{"id":"batch_req_']

/**
 * Reads the output of an earlier run together with its input, and removes a last line that a crash left incomplete. Throws a usage error if
 * the file contains anything else, before the file is changed.
 */
export async function resumeOutput(out: string, input: string): Promise<Written> {
  const written: Written = { lines: 0, failed: 0, last: 0 }
  if (!(await exists(out))) return written
  const requests = readRequests(input)
  try {
    const limit = Number.POSITIVE_INFINITY
    for await (const { text, start, end } of readLines(createReadStream(out), { limit })) {
      const line = text!.toString('utf8')
      if (end - start === text!.length && isBeginning(line)) {
        await truncate(out, start)
        break
      }
      const result = readResult(line)
      const { value: request, done } = await requests.next()
      if (done === true || result === null || result.place !== placeOf(request)) {
        throw new CliError(
          ExitCode.usage,
          `${out} does not contain results of ${input} (line ${written.lines + 1}); name another --out`,
        )
      }
      written.lines++
      written.last = request.line
      if (!result.isCompleted) written.failed++
    }
  } finally {
    await requests.return(undefined)
  }
  return written
}

function isBeginning(line: string): boolean {
  return beginnings.some((beginning) => line.startsWith(beginning) || beginning.startsWith(line))
}

async function exists(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isFile()
  } catch {
    return false
  }
}
