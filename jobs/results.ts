import { setImmediate as nextTurn } from 'node:timers/promises'
import { keepSource, sourceOf } from '../lib/json-source.ts'
import type { RedisClient } from '../lib/redis.ts'
import type { Job } from './job.ts'
import { withoutOmission } from './omission.ts'
import { type JobRecord, toJob, type View } from './record.ts'

/** Results read in one round trip, by their bytes at rest and by their number; one may be larger. */
const BLOCK_BYTES = 256 * 1024
const BLOCK_JOBS = 100

/** Together with a summary, all that makes a job. */
export const RESULT_FIELDS = ['result', 'hash', 'format']

/** A job read without its result, and the record it was read from. */
export type Summary = { job: Job; record: JobRecord }

/** Most bytes of one result, and of all together; they hold at rest, for what is read, and as JSON, for what is shown. */
export type ResultBounds = { eachBytes: number; allBytes: number }

/**
 * The jobs in their order, with those results that the bounds have room for, the first ones first. The others stay omitted.
 * Other work has its turn between two blocks.
 */
export async function bringResults(
  { redis, view }: { redis: RedisClient; view: View },
  summaries: readonly Summary[],
  { eachBytes, allBytes }: ResultBounds,
): Promise<Job[]> {
  const keyOf = ({ job }: Summary) => `${view.root}:job:${job.id}`
  const jobs = new Map(summaries.map(({ job }) => [job.id, job]))
  const omitted = summaries.filter(({ job }) => job.result_omitted)
  const sizes = await Promise.all(omitted.map((one) => redis.hstrlen(keyOf(one), 'result')))
  let left = allBytes
  for (const block of divide(omitted, sizes, { eachBytes, allBytes })) {
    const read = await Promise.all(block.map((one) => redis.hmgetBuffer(keyOf(one), ...RESULT_FIELDS)))
    for (const [at, { job, record }] of block.entries()) {
      const members = RESULT_FIELDS.flatMap((name, index) => {
        const value = read[at]![index]
        return value ? [[name, value] as const] : []
      })
      const { result, error } = toJob(job.id, new Map([...record, ...members]), view)
      if (result === null) {
        // It cannot be read, and its error says why; or it was forgotten just now.
        if (error !== null) jobs.set(job.id, { ...withoutOmission(job), error })
        continue
      }
      const text = sourceOf(result)
      const bytes = Buffer.byteLength(text)
      if (bytes > eachBytes || bytes > left) continue
      left -= bytes
      jobs.set(job.id, { ...withoutOmission(job), result: keepSource(result, text) })
    }
    await nextTurn()
  }
  return summaries.map(({ job }) => jobs.get(job.id)!)
}

/** Blocks of those whose bytes at rest the bounds have room for. */
function divide(summaries: Summary[], sizes: number[], { eachBytes, allBytes }: ResultBounds): Summary[][] {
  const blocks: Summary[][] = []
  let bytes = Number.POSITIVE_INFINITY
  let left = allBytes
  for (const [at, summary] of summaries.entries()) {
    const size = sizes[at]!
    if (size > eachBytes || size > left) continue
    left -= size
    bytes += size
    if (bytes > BLOCK_BYTES || blocks.at(-1)!.length === BLOCK_JOBS) {
      blocks.push([])
      bytes = size
    }
    blocks.at(-1)!.push(summary)
  }
  return blocks
}
