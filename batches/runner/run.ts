import type { Waker } from '../../lib/waker.ts'
import { type BatchEnding, BatchStatus, isOver, PARTS_PER_BLOCK } from '../batch.ts'
import { type BatchProgress, LeaseLostError } from '../work.ts'
import { abortBlocks } from './abort.ts'
import { createFeeder } from './feed.ts'
import { type BatchDeps, type BatchRun, InputGoneError, RunStoppedError, TenantGoneError } from './lines.ts'
import { validateInput } from './validate.ts'
import { createOpenBlocks } from './watch.ts'
import { createBlockWriter } from './write.ts'

/** Pause between two steps of a batch that moves (`least`) and of one that does not (`most`), ms. */
const LOOK_MS = { least: 100, most: 1000 }

/** Pause between two reads of the open jobs: after something happened (`least`), or while nothing does (`most`), ms. */
const STATUS_MS = { least: 1000, most: 5000 }

const NO_FILES = { outputFileId: null, errorFileId: null }

/**
 * Runs a batch from its current state to its end:
 *
 *   validate ──> feed ──> watch ──> write ──> seal ──> finish
 *                 ▲  a window of jobs  │
 *                 └────────────────────┘
 *
 * Every step may be repeated: validation stores nothing, each line's job has its own idempotency key, a block's parts are numbered, and
 * sealing finds an existing file. So after a worker died, the next one can always continue. Resolves when the batch is over. Throws
 * LeaseLostError and RunStoppedError if another worker has to continue it.
 */
export async function runBatch(
  deps: BatchDeps,
  run: Pick<BatchRun, 'held' | 'check'>,
  waker: Pick<Waker, 'sleep'>,
): Promise<void> {
  const { work } = deps
  let progress = await work.load(run.held)
  // It ended after it was listed as active.
  if (progress === null || isOver(progress.batch.status)) return
  if (progress.layout === null) {
    if (await validate(deps, { ...run, batch: progress.batch })) return
    progress = await work.load(run.held)
    if (progress === null) return
    // It was cancelled during validation: there are no jobs.
    if (progress.layout === null) return work.finish(run.held, NO_FILES)
  }
  await runLines(deps, { ...run, batch: progress.batch }, progress, waker)
}

/** True: the batch is over. */
async function validate(deps: BatchDeps, run: BatchRun): Promise<boolean> {
  const { work, files } = deps
  const { batch, held } = run
  const hasExpired = async () => deps.now() >= batch.expiresAt && (await work.abort(held, 'expired', []))
  if (batch.status === BatchStatus.cancelling || (await hasExpired())) {
    await work.finish(held, NO_FILES)
    return true
  }
  const faults = (code: string, error: Error) => [
    { code, message: `${error.message}.`, param: null, line: null },
  ]
  if (deps.window(batch.tenant, batch.model) === null) {
    await work.finish(held, NO_FILES, faults('tenant_removed', new TenantGoneError()))
    return true
  }
  const verdict = await validateInput(deps, batch, run.check)
  if ('faults' in verdict) {
    await work.finish(held, NO_FILES, verdict.faults)
    return true
  }
  await work.begin(held, { ...verdict, outputId: files.newId(), errorId: files.newId() })
  return false
}

async function runLines(
  deps: BatchDeps,
  run: BatchRun,
  progress: BatchProgress,
  waker: Pick<Waker, 'sleep'>,
): Promise<void> {
  const { work, jobs, now } = deps
  const { held, batch, check } = run
  const layout = progress.layout ?? []
  const writer = createBlockWriter(deps, run, progress)
  const open = createOpenBlocks(deps, run, writer)
  for (const [block, lines] of progress.open) open.add(block, lines)
  const remaining = layout.map((_, block) => block).filter((block) => !isKnown(block))
  const feeder = createFeeder(deps, run, { layout, remaining, onOpen: open.add })
  let lastCount = -1
  let lookedAt = Number.NEGATIVE_INFINITY
  /** Writing is slow, so lines are submitted meanwhile. */
  let looking: Promise<void> | null = null
  let failure: unknown = null

  function isKnown(block: number): boolean {
    return progress.open.has(block) || progress.done.has(block)
  }

  /** Keeps a window of jobs open until all lines have their jobs, and writes the finished blocks. */
  async function advance(): Promise<boolean> {
    const window = deps.window(batch.tenant, batch.model)
    if (window === null && remaining.length > 0) throw new TenantGoneError()
    const count = await jobs.countOpen(batch.tenant, batch.id)
    const moved = await feeder.feed((window ?? 0) - count)
    // Look at once if no job is open. Otherwise look once a second if something happened, and more rarely if not.
    const since = performance.now() - lookedAt
    const isDue = since >= (moved || count !== lastCount ? STATUS_MS.least : STATUS_MS.most)
    if (looking !== null || open.size === 0 || !(isDue || count === 0)) return moved || looking !== null
    lastCount = count
    lookedAt = performance.now()
    looking = open
      .look(null)
      .then(
        () => {},
        (error) => {
          failure = error
        },
      )
      .finally(() => {
        looking = null
      })
    return true
  }

  async function windDown(ending: BatchEnding): Promise<boolean> {
    await looking
    await abortBlocks(deps, run, ending, { layout, remaining, writer, onOpen: open.add })
    // When the batch failed, jobs that were already submitted still run, and their results are written.
    if (ending !== 'failed') await open.cancel()
    return open.look(ending)
  }

  /** Takes one step. Null: everything is written. */
  async function step(): Promise<boolean | null> {
    check()
    if (failure !== null) {
      const error = failure
      failure = null
      throw error
    }
    const { ending } = await work.glance(held)
    if (remaining.length === 0 && open.size === 0) return null
    if (ending !== null) return windDown(ending)
    if (now() >= batch.expiresAt && (await work.abort(held, 'expired', []))) return true
    try {
      return await advance()
    } catch (error) {
      if (!(error instanceof InputGoneError) && !(error instanceof TenantGoneError)) throw error
      await feeder.giveUp()
      const code = error instanceof InputGoneError ? 'input_file_not_found' : 'tenant_removed'
      await work.abort(held, 'failed', [{ code, message: `${error.message}.`, param: null, line: null }])
      return true
    }
  }

  try {
    for (let pause = LOOK_MS.least; ; ) {
      let moved: boolean | null = false
      try {
        moved = await step()
      } catch (error) {
        if (error instanceof LeaseLostError || error instanceof RunStoppedError) throw error
        deps.onError(error, `batch ${batch.id}`)
        pause = LOOK_MS.most
      }
      if (moved === null) break
      pause = moved ? LOOK_MS.least : Math.min(LOOK_MS.most, pause * 2)
      await waker.sleep(pause)
    }
  } finally {
    await looking
  }
  await seal(deps, run, progress)
}

/** Seals the result files, without empty ones, and ends the batch. */
async function seal(
  { work, files, fileRetainMs }: BatchDeps,
  { held, batch }: BatchRun,
  { outputId, errorId, layout }: BatchProgress,
): Promise<void> {
  const writtenAt = await work.finalize(held)
  const keepMs = batch.outputExpiresAfter === null ? fileRetainMs() : batch.outputExpiresAfter * 1000
  const parts = (layout ?? []).length * PARTS_PER_BLOCK

  async function sealOne(id: string, what: string): Promise<string | null> {
    const filename = `${batch.id}_${what}.jsonl`
    const expiresAt = writtenAt + keepMs
    const file = await files.seal(batch.tenant, id, { filename, purpose: 'batch_output', expiresAt }, parts)
    if (file.bytes > 0) return id
    await files.remove(batch.tenant, id)
    return null
  }

  const outputFileId = await sealOne(outputId, 'output')
  const errorFileId = await sealOne(errorId, 'error')
  await work.finish(held, { outputFileId, errorFileId })
}
