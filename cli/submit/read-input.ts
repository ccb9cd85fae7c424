import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readLines } from '../../batches/read-lines.ts'
import { refuseInput } from '../input-file.ts'
import { type InputIdentity, type LineRequest, MAX_LINE_BYTES, readRequest } from './read-request.ts'

export type Input = InputIdentity & { path: string; lines: number }

/** Reads a whole file once for its digest and its number of lines. */
export async function inspectInput(path: string): Promise<Input> {
  const hash = createHash('sha256')
  let lines = 0
  async function* read() {
    for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) {
      hash.update(chunk)
      yield chunk
    }
  }
  try {
    for await (const _line of readLines(read(), { limit: MAX_LINE_BYTES })) lines++
  } catch (error) {
    throw refuseInput(error, path)
  }
  const digest = hash.digest('hex')
  return { path, lines, digest, group: `submit-${digest.slice(0, 16)}` }
}

/** The requests of the lines of a file, in order. Only one is in memory at a time. */
export async function* readRequests(path: string): AsyncGenerator<LineRequest> {
  for await (const line of readLines(createReadStream(path), { limit: MAX_LINE_BYTES }))
    yield readRequest(line)
}
