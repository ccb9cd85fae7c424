import { InputError } from '../../jobs/input-error.ts'
import type { NewJob } from '../../jobs/new-job.ts'
import { createBreather } from '../../lib/breathe.ts'
import { type BatchLine, BLOCK_LINES } from '../batch.ts'
import type { InputLine } from '../read-lines.ts'
import {
  type BatchDeps,
  type BatchRun,
  countLines,
  describeEnding,
  InputGoneError,
  isPassing,
  readInput,
  TenantGoneError,
} from './lines.ts'

/** Bytes of input that are held in memory as jobs before they are submitted. */
const SLICE_BYTES = 1024 * 1024

/** Pause after a refusal without a retry time, and bounds of those with one, ms. */
const REFUSED_MS = 1000
const REFUSED_LEAST_MS = 50
const REFUSED_MOST_MS = 60_000

export type Feeder = {
  /**
   * Submits up to `room` lines, as long as the store accepts them. Passes on each block whose lines all have a job, or an answer without
   * one. True: something changed. Throws InputGoneError and TenantGoneError.
   */
  feed(room: number): Promise<boolean>
  /** Called when the input cannot be read any more: passes on the block read so far. Its other lines get the answer of a failed batch. */
  giveUp(): Promise<void>
  /** Blocks not passed on yet, in order. The first may have jobs. */
  readonly remaining: readonly number[]
}

/** A line fails after this many internal errors. An unavailable store does not count. */
const MOST_ERRORS = 3

/** The answer to a line for a model without a price, where a budget applies. */
const unpriced = { code: 'invalid_request', message: 'The model has no price, and a budget counts.' }

type Pending = { slot: number; customId: string; job: NewJob; errors: number }

/**
 * Turns a batch's input into jobs, block by block. Each line's idempotency key is its index. After a crash, a half-submitted block is
 * submitted again and gets the same jobs.
 */
export function createFeeder(
  { files, jobs, lines, work, onError }: BatchDeps,
  { held, batch, check }: BatchRun,
  start: {
    layout: readonly number[]
    remaining: number[]
    onOpen: (block: number, lines: BatchLine[]) => void
  },
): Feeder {
  const { remaining } = start
  const breathe = createBreather()
  let reader: { at: number; lines: AsyncGenerator<InputLine> } | null = null
  let current: { block: number; taken: number; lines: BatchLine[] } | null = null
  let pending: Pending[] = []
  let restUntil = 0

  async function nextLine(at: number): Promise<InputLine> {
    // A failed read ends its generator. The next generator begins at the same offset.
    const from = reader?.at === at ? reader : { at, lines: readInput({ files, lines }, batch, at) }
    reader = null
    const { value: line } = await from.lines.next()
    if (!line) throw new InputGoneError()
    reader = { at: line.end, lines: from.lines }
    return line
  }

  let position = -1

  async function takeLines(room: number): Promise<void> {
    const { block } = current!
    const count = countLines(batch, block)
    let bytes = 0
    while (current!.taken < count && pending.length < room && bytes < SLICE_BYTES) {
      const line = await nextLine(position)
      position = line.end
      const slot = current!.taken++
      const place = { batch, index: block * BLOCK_LINES + slot }
      const read = await lines.read(line.text ?? Buffer.alloc(0), place)
      if (read === null) throw new TenantGoneError()
      const { customId, made } = read
      if ('tenant' in made) pending.push({ slot, customId, job: made, errors: 0 })
      else current!.lines[slot] = { customId, answer: made }
      bytes += line.text?.length ?? 0
      await breathe()
    }
  }

  /** Submits pending jobs and returns how many were accepted; the others stay pending. */
  async function submit(room: number): Promise<number> {
    const slice = pending.slice(0, room)
    const outcomes = await jobs.createMany(slice.map(({ job }) => job))
    // If all failed, the run fails and is repeated later; repeated lines get the same jobs.
    const [first] = outcomes
    if (first?.kind === 'failed' && outcomes.every(({ kind }) => kind === 'failed')) {
      if (isPassing(first.error)) throw first.error
    }
    const refused: Pending[] = []
    for (const [index, outcome] of outcomes.entries()) {
      const one = slice[index]!
      if (outcome.kind === 'refused' && outcome.code === 'unpriced') {
        current!.lines[one.slot] = { customId: one.customId, answer: unpriced }
      } else if (outcome.kind === 'refused') {
        refused.push(one)
        const asked = outcome.retryAfterMs ?? REFUSED_MS
        const pause = Math.min(Math.max(asked, REFUSED_LEAST_MS), REFUSED_MOST_MS)
        restUntil = Math.max(restUntil, performance.now() + pause)
      } else if (outcome.kind === 'failed' && outcome.error instanceof InputError) {
        const { message, param } = outcome.error
        const error = {
          message,
          type: 'invalid_request_error',
          param: param.slice(5),
          code: 'invalid_request',
        }
        current!.lines[one.slot] = { customId: one.customId, answer: { status: 400, error } }
      } else if (outcome.kind === 'failed') {
        onError(outcome.error, `line ${one.customId} of batch ${batch.id}`)
        if (!isPassing(outcome.error)) one.errors++
        restUntil = Math.max(restUntil, performance.now() + REFUSED_MS)
        if (one.errors < MOST_ERRORS) refused.push(one)
        else {
          const answer = { code: 'internal_error', message: 'Something went wrong on our side.' }
          current!.lines[one.slot] = { customId: one.customId, answer }
        }
      } else if (outcome.kind === 'conflict') {
        const answer = { code: 'idempotency_conflict', message: 'Another request has the place of this one.' }
        current!.lines[one.slot] = { customId: one.customId, answer }
      } else {
        current!.lines[one.slot] = { customId: one.customId, job: outcome.id }
      }
    }
    pending = [...refused, ...pending.slice(slice.length)]
    return slice.length - refused.length
  }

  async function handOn(block: number, made: BatchLine[]): Promise<void> {
    await work.open(held, block, made)
    remaining.shift()
    start.onOpen(block, made)
    current = null
    pending = []
  }

  return {
    remaining,
    async giveUp() {
      if (current === null) return
      const answer = describeEnding('failed')
      for (const { slot, customId } of pending) current.lines[slot] = { customId, answer }
      // A line that could not be read has an empty slot, and is the last one.
      const made = current.lines.filter((line) => line !== undefined)
      if (made.some((line) => 'job' in line)) await handOn(current.block, made)
    },
    async feed(room) {
      let left = room
      let moved = false
      while (left > 0 && performance.now() >= restUntil) {
        check()
        if (current === null) {
          const block = remaining[0]
          if (block === undefined) break
          current = { block, taken: 0, lines: [] }
          position = start.layout[block]!
        }
        if (pending.length === 0) await takeLines(Math.min(left, BLOCK_LINES))
        if (pending.length > 0) left -= await submit(left)
        if (pending.length === 0 && current.taken === countLines(batch, current.block)) {
          await handOn(current.block, current.lines)
          moved = true
        }
      }
      return moved || left < room
    },
  }
}
