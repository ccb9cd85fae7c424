import type { NewJob } from '../../jobs/new-job.ts'
import { createBreather } from '../../lib/breathe.ts'
import { type BatchEnding, type BatchLine, BLOCK_LINES, emptyTally } from '../batch.ts'
import {
  type BatchDeps,
  type BatchRun,
  countLines,
  describeEnding,
  InputGoneError,
  isPassing,
  readInput,
} from './lines.ts'
import type { BlockWriter } from './write.ts'

/**
 * Ends the blocks that were not submitted, when a batch ends early: each of their lines is answered with the reason. The first of these
 * blocks may have jobs already: they are found by their idempotency keys and passed on. If the input was deleted, the lines' names are
 * unknown: they count as failed and are not written.
 */
export async function abortBlocks(
  deps: BatchDeps,
  run: BatchRun,
  ending: BatchEnding,
  start: {
    layout: readonly number[]
    remaining: number[]
    writer: BlockWriter
    onOpen: (block: number, lines: BatchLine[]) => void
  },
): Promise<void> {
  const { work } = deps
  const { held, batch, check } = run
  const { remaining } = start
  for (let isFirst = true; remaining.length > 0; isFirst = false) {
    check()
    const block = remaining[0]!
    const lines = await readBlock(deps, run, ending, { block, at: start.layout[block]!, isFirst })
    if (lines === null) {
      await work.tally(held, block, { ...emptyTally, failed: countLines(batch, block) }, true)
    } else if (lines.some((line) => 'job' in line)) {
      await work.open(held, block, lines)
      start.onOpen(block, lines)
    } else {
      // A block without jobs can be written at once.
      const tally = await start.writer.write(block, lines, ending)
      await work.tally(held, block, tally ?? emptyTally, true)
    }
    remaining.shift()
  }
}

/** The lines of a block with their final answers; null: the input was deleted. */
async function readBlock(
  { files, lines, jobs }: BatchDeps,
  { batch }: BatchRun,
  ending: BatchEnding,
  { block, at, isFirst }: { block: number; at: number; isFirst: boolean },
): Promise<BatchLine[] | null> {
  const answer = describeEnding(ending)
  const count = countLines(batch, block)
  const found: BatchLine[] = []
  const asked: { slot: number; customId: string; job: NewJob }[] = []
  const breathe = createBreather()
  try {
    for await (const { text } of readInput({ files, lines }, batch, at)) {
      const slot = found.length
      const place = { batch, index: block * BLOCK_LINES + slot }
      const read = await lines.read(text ?? Buffer.alloc(0), place)
      // The tenant is gone: no line can be read as a job. Existing jobs run to their end.
      if (read === null) return null
      const { customId, made } = read
      if ('tenant' in made && isFirst) asked.push({ slot, customId, job: withoutRoom(made) })
      found.push({ customId, answer })
      if (found.length === count) break
      await breathe()
    }
  } catch (error) {
    if (error instanceof InputGoneError) return null
    throw error
  }
  if (found.length < count) return null
  for (let from = 0; from < asked.length; from += 25) {
    const slice = asked.slice(from, from + 25)
    const outcomes = await jobs.createMany(slice.map(({ job }) => job))
    for (const [index, outcome] of outcomes.entries()) {
      const { slot, customId } = slice[index]!
      // It is unknown whether there is a job. The run fails here, and is repeated later.
      if (outcome.kind === 'failed' && isPassing(outcome.error)) throw outcome.error
      if ('id' in outcome) found[slot] = { customId, job: outcome.id }
    }
  }
  return found
}

/** With no room in the queue, an existing job is found and a missing one is refused (jobs/lua/create.lua). */
function withoutRoom(job: NewJob): NewJob {
  return { ...job, limits: { ...job.limits, maxQueued: 0 } }
}
