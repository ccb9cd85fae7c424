import { setImmediate as nextTurn } from 'node:timers/promises'
import { keepSource, sourceOf } from '../lib/json-source.ts'
import type { RedisClient } from '../lib/redis.ts'
import { type AnswerStore, answerOf } from './answer-store.ts'
import type { Job } from './job.ts'
import { withoutOmission } from './omission.ts'
import { type JobRecord, toJob, type View } from './record.ts'

/** Results that are read in one round trip, by their stored bytes and by their number. A single one may be larger. */
const BLOCK_BYTES = 256 * 1024
const BLOCK_JOBS = 100

/** The fields that, with a summary and the answer that they refer to, make the whole job. */
export const RESULT_FIELDS = ['result', 'hash', 'format', 'answer']

/** A job that was read without its result, and the record from which it was made. */
export type Summary = { job: Job; record: JobRecord }

/**
 * Most bytes of one result, and of all together. Both bound what is read, as stored bytes, and what is shown, as JSON.
 */
export type ResultBounds = { eachBytes: number; allBytes: number }

/**
 * The jobs in their order, with as many results as the bounds permit, the first ones first. The other results stay
 * omitted. Other work gets a turn of the event loop between two blocks.
 */
export async function bringResults(
  { redis, answers, view }: Deps,
  summaries: readonly Summary[],
  { eachBytes, allBytes }: ResultBounds,
): Promise<Job[]> {
  const jobs = new Map(summaries.map(({ job }) => [job.id, job]))
  const found = await findResults(
    { redis, answers, view },
    summaries.filter(({ job }) => job.result_omitted),
  )
  let left = allBytes
  for (const block of divide(found, { eachBytes, allBytes })) {
    const read = await Promise.all(block.map((one) => readResult({ redis, answers, view }, one)))
    for (const [at, { job, record, members }] of block.entries()) {
      const stored = read[at]
      if (!stored) continue // it was deleted just now
      const { result, error } = toJob(
        job.id,
        new Map([...record, ...members, ['result', stored] as const]),
        view,
      )
      if (result === null) {
        // The result cannot be read, and the error says why.
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

type Deps = { redis: RedisClient; answers: AnswerStore; view: View }

/** A summary, what else its record says about its result, and how many bytes the result takes in the store. */
type Found = Summary & { members: JobRecord; bytes: number }

const SMALL_FIELDS = RESULT_FIELDS.filter((name) => name !== 'result')

function keyOf({ root }: View, { job }: Summary): string {
  return `${root}:job:${job.id}`
}

async function findResults({ redis, answers, view }: Deps, summaries: Summary[]): Promise<Found[]> {
  const read = await Promise.all(
    summaries.map((one) =>
      Promise.all([
        redis.hmgetBuffer(keyOf(view, one), ...SMALL_FIELDS),
        redis.hstrlen(keyOf(view, one), 'result'),
      ]),
    ),
  )
  const found = summaries.map(({ job, record }, at): Found => {
    const [values, bytes] = read[at]!
    const members: JobRecord = new Map()
    for (const [index, name] of SMALL_FIELDS.entries()) if (values[index]) members.set(name, values[index])
    return { job, record, members, bytes }
  })
  const apart = found.filter(({ members }) => answerOf(members))
  const sizes = await answers.sizes(
    view.root,
    apart.map(({ members }) => answerOf(members)!),
  )
  for (const [at, one] of apart.entries()) one.bytes = sizes[at] ?? 0
  return found
}

async function readResult({ redis, answers, view }: Deps, found: Found): Promise<Buffer | null> {
  const name = answerOf(found.members)
  if (name === null) return redis.hgetBuffer(keyOf(view, found), 'result')
  const [answer] = await answers.read(view.root, [name])
  return answer!
}

/** Blocks of those results whose stored bytes the bounds permit. */
function divide(found: readonly Found[], { eachBytes, allBytes }: ResultBounds): Found[][] {
  const blocks: Found[][] = []
  let bytes = Number.POSITIVE_INFINITY
  let left = allBytes
  for (const one of found) {
    if (one.bytes > eachBytes || one.bytes > left) continue
    left -= one.bytes
    bytes += one.bytes
    if (bytes > BLOCK_BYTES || blocks.at(-1)!.length === BLOCK_JOBS) {
      blocks.push([])
      bytes = one.bytes
    }
    blocks.at(-1)!.push(one)
  }
  return blocks
}
