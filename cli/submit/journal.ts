import { createReadStream } from 'node:fs'
import { appendFile, rename, rm, writeFile } from 'node:fs/promises'
import { readLines } from '../../batches/read-lines.ts'
import { isJsonObject, type JsonValue } from '../../lib/json.ts'

/**
 * Records which jobs were created for which lines, in a file next to the results until all are written: the server forgets idempotency keys
 * after 24 h, and a run may be resumed later.
 */
export type Journal = {
  /** The job of a line from an earlier run. Removes it from the journal in memory. */
  take(line: number): string | undefined
  add(jobs: { line: number; id: string }[]): Promise<void>
  /** Deletes the journal; every line is written. */
  remove(): Promise<void>
}

/** For results that go to no file: nothing can be resumed. */
export const noJournal: Journal = {
  take: () => undefined,
  add: async () => {},
  remove: async () => {},
}

/** The input and the server of the jobs. */
export type JournalHeader = { input: string; url: string }

/**
 * Opens the journal of this input at this server. A journal of another input or server is replaced.
 *
 * @param written lines up to here no longer need a job
 */
export async function openJournal(path: string, of: JournalHeader, written: number): Promise<Journal> {
  const known = await readJournal(path, of, written)
  const header = `${JSON.stringify(of)}\n`
  await writeFile(`${path}.new`, header + encode([...known].map(([line, id]) => ({ line, id }))))
  await rename(`${path}.new`, path)
  return {
    take(line) {
      const id = known.get(line)
      known.delete(line)
      return id
    },
    add: (jobs) => appendFile(path, encode(jobs)),
    remove: () => rm(path, { force: true }),
  }
}

async function readJournal(path: string, of: JournalHeader, written: number): Promise<Map<number, string>> {
  const known = new Map<number, string>()
  try {
    let isHeader = true
    for await (const { text } of readLines(createReadStream(path), { limit: 4096 })) {
      const entry = parse(text?.toString('utf8') ?? '')
      if (isHeader && !isHeaderOf(entry, of)) return known
      isHeader = false
      // A crash may have left half a line at the end.
      if (!isJsonObject(entry) || typeof entry.line !== 'number' || typeof entry.id !== 'string') continue
      if (entry.line > written) known.set(entry.line, entry.id)
    }
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error
  }
  return known
}

function isHeaderOf(entry: JsonValue, { input, url }: JournalHeader): boolean {
  return isJsonObject(entry) && entry.input === input && entry.url === url
}

function encode(jobs: { line: number; id: string }[]): string {
  return jobs.map((job) => `${JSON.stringify(job)}\n`).join('')
}

function parse(text: string): JsonValue {
  try {
    return JSON.parse(text) as JsonValue
  } catch {
    return null
  }
}
