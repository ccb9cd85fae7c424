import { isTerminal, type Job } from '../../jobs/job.ts'
import { parseLargeResult } from '../../jobs/job-result.ts'
import { createBreather } from '../../lib/breathe.ts'
import { isJsonObject, type JsonObject, type JsonValue } from '../../lib/json.ts'
import {
  addTallies,
  type BatchEnding,
  type BatchLine,
  BLOCK_LINES,
  emptyTally,
  type LineFailure,
  PART_LINES,
  PARTS_PER_BLOCK,
  type Tally,
} from '../batch.ts'
import { type LineAnswer, renderLine } from '../render-line.ts'
import { type BatchDeps, type BatchRun, describeEnding } from './lines.ts'

/** The ids of a batch's result files, before they are sealed. */
export type ResultFiles = { outputId: string; errorId: string }

export type BlockWriter = {
  /**
   * Writes the outcomes of a block's lines. Null: a retry runs one of its jobs again, and nothing counts yet. Calling it again for the
   * block writes the same parts.
   */
  write(block: number, lines: readonly BatchLine[], ending: BatchEnding | null): Promise<Tally | null>
}

/** Parts written at the same time. More are faster on a slow store, but results take memory. */
const PARTS_AT_ONCE = 5

/** Reads the jobs of a few parts at a time, so that memory does not grow with the size of answers. */
export function createBlockWriter(
  {
    jobs,
    files,
    describeFailure,
    showResult,
  }: Pick<BatchDeps, 'jobs' | 'files' | 'describeFailure' | 'showResult'>,
  { batch, check }: Pick<BatchRun, 'batch' | 'check'>,
  { outputId, errorId }: ResultFiles,
): BlockWriter {
  const breathe = createBreather()

  async function writePart(
    block: number,
    part: number,
    lines: readonly BatchLine[],
    ending: BatchEnding | null,
  ) {
    const ids = lines.flatMap((line) => ('job' in line ? [line.job] : []))
    const found = await jobs.getMany(batch.tenant, ids)
    const jobOf = (line: BatchLine) => ('job' in line ? (found[ids.indexOf(line.job)] ?? null) : null)
    let tally = emptyTally
    let output = ''
    let errors = ''
    for (const [offset, line] of lines.entries()) {
      const job = jobOf(line)
      if (job !== null && !isTerminal(job.status)) return null
      if (job !== null) await parseLargeResult(job)
      const answer = answerOf(line, job, ending)
      const index = block * BLOCK_LINES + part * PART_LINES + offset
      const text = renderLine(batch.id, index, answer)
      if ('result' in answer.outcome) output += text
      else errors += text
      tally = addTallies(tally, tallyOf(answer, job))
      await breathe()
    }
    check()
    const number = block * PARTS_PER_BLOCK + part
    // Empty parts are written too: an earlier attempt may have written more.
    await Promise.all([
      files.writePart(batch.tenant, outputId, number, Buffer.from(output)),
      files.writePart(batch.tenant, errorId, number, Buffer.from(errors)),
    ])
    return tally
  }

  function answerOf(line: BatchLine, job: Job | null, ending: BatchEnding | null): LineAnswer {
    const { customId } = line
    if ('answer' in line) return { customId, request: null, outcome: { failure: line.answer } }
    return { customId, request: line.job, outcome: outcomeOf(job, ending) }
  }

  function outcomeOf(job: Job | null, ending: BatchEnding | null): LineAnswer['outcome'] {
    if (job === null) return { failure: jobDeleted }
    if (job.status === 'completed' && job.error === null) return { result: showResult(job) }
    if (job.status === 'cancelled')
      return { failure: ending === null ? jobCancelled : describeEnding(ending) }
    // The deadline of a batch's jobs is the end of the batch's window.
    if (job.error?.code === 'deadline_exceeded' && job.error.provider_status === null)
      return { failure: describeEnding('expired') }
    return { failure: job.error === null ? jobDeleted : describeFailure(job.error) }
  }

  return {
    async write(block, lines, ending) {
      const parts = Math.ceil(lines.length / PART_LINES)
      let sum = emptyTally
      for (let first = 0; first < parts; first += PARTS_AT_ONCE) {
        const numbers = Array.from({ length: Math.min(PARTS_AT_ONCE, parts - first) }, (_, at) => first + at)
        const tallies = await Promise.all(
          numbers.map((part) =>
            writePart(block, part, lines.slice(part * PART_LINES, (part + 1) * PART_LINES), ending),
          ),
        )
        for (const tally of tallies) {
          if (tally === null) return null
          sum = addTallies(sum, tally)
        }
      }
      return sum
    },
  }
}

const jobDeleted: LineFailure = {
  code: 'job_deleted',
  message: 'The job of this request was deleted before its result was written.',
}
const jobCancelled: LineFailure = { code: 'job_cancelled', message: 'The job of this request was cancelled.' }

function tallyOf({ outcome }: LineAnswer, job: Job | null): Tally {
  if (!('result' in outcome)) return { ...emptyTally, failed: 1 }
  const { usage } = outcome.result
  const details = isJsonObject(usage) ? usage : {}
  return {
    completed: 1,
    failed: 0,
    inputTokens: job?.usage?.input_tokens ?? 0,
    cachedTokens: countOf(details.prompt_tokens_details ?? details.input_tokens_details, 'cached_tokens'),
    outputTokens: job?.usage?.output_tokens ?? 0,
    reasoningTokens: countOf(
      details.completion_tokens_details ?? details.output_tokens_details,
      'reasoning_tokens',
    ),
  }
}

function countOf(details: JsonValue | undefined, name: keyof JsonObject): number {
  const count = isJsonObject(details) ? details[name] : undefined
  return typeof count === 'number' && Number.isSafeInteger(count) ? count : 0
}
