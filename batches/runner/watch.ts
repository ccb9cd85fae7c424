import { isTerminal, JobStatus } from '../../jobs/job.ts'
import { type BatchEnding, type BatchLine, emptyTally } from '../batch.ts'
import { type BatchDeps, type BatchRun, countLines } from './lines.ts'
import type { BlockWriter } from './write.ts'

/** Jobs cancelled at the same time. */
const CANCEL_AT_ONCE = 50

export type OpenBlocks = {
  /** Adds a block whose lines all have a job or an answer. */
  add(block: number, lines: BatchLine[]): void
  readonly size: number
  /** Reads the states of the jobs that may still run, and writes blocks whose jobs have all ended. True: something changed. */
  look(ending: BatchEnding | null): Promise<boolean>
  /** Cancels every job that has not ended. */
  cancel(): Promise<void>
}

/** A block: the jobs that have not ended, and the counts of the others. */
type OpenBlock = {
  lines: BatchLine[]
  waiting: Set<string>
  completed: number
  failed: number
}

/** Watches the jobs of a batch's open blocks, with one read for each block. Writes a block once all of its jobs have ended. */
export function createOpenBlocks(
  { jobs, work }: BatchDeps,
  { held, batch, check }: BatchRun,
  writer: BlockWriter,
): OpenBlocks {
  const blocks = new Map<number, OpenBlock>()

  function add(block: number, lines: BatchLine[]): void {
    const waiting = new Set<string>()
    for (const line of lines) if ('job' in line) waiting.add(line.job)
    const answered = lines.filter((line) => 'answer' in line).length
    blocks.set(block, { lines, waiting, completed: 0, failed: answered })
  }

  async function lookAt(number: number, block: OpenBlock, ending: BatchEnding | null): Promise<boolean> {
    const ids = [...block.waiting]
    const statuses = await jobs.statuses(batch.tenant, ids)
    for (const [index, status] of statuses.entries()) {
      if (status !== null && !isTerminal(status)) continue
      block.waiting.delete(ids[index]!)
      if (status === JobStatus.completed) block.completed++
      else block.failed++
    }
    if (block.waiting.size > 0) {
      const moved = block.waiting.size < ids.length
      const { completed, failed } = block
      if (moved) await work.tally(held, number, { ...emptyTally, completed, failed }, false)
      return moved
    }
    const tally = await writer.write(number, block.lines, ending)
    if (tally === null) {
      add(number, block.lines)
      return false
    }
    // If the input was deleted in the middle of a block, some of its lines were never read.
    const missing = countLines(batch, number) - block.lines.length
    await work.tally(held, number, { ...tally, failed: tally.failed + missing }, true)
    blocks.delete(number)
    return true
  }

  return {
    add,
    get size() {
      return blocks.size
    },
    async look(ending) {
      let moved = false
      for (const [number, block] of [...blocks]) {
        check()
        moved = (await lookAt(number, block, ending)) || moved
      }
      return moved
    },
    async cancel() {
      const ids = [...blocks.values()].flatMap((block) => [...block.waiting])
      for (let at = 0; at < ids.length; at += CANCEL_AT_ONCE) {
        check()
        const slice = ids.slice(at, at + CANCEL_AT_ONCE)
        await Promise.all(slice.map((id) => jobs.cancel(batch.tenant, id)))
      }
    },
  }
}
