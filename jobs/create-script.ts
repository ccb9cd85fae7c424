import { type BudgetWindow, encodeBudgets } from './budgets.ts'
import { type DirectPlan, encodeMessage, encodeStart, type StartPlan } from './direct-plan.ts'
import { encodeFairKeyLimits } from './fair-key.ts'
import { encodeEstimate } from './money.ts'
import type { NewJob } from './new-job.ts'
import type { Argument } from './scripts.ts'

/** How long an idempotency key is remembered. */
const IDEMPOTENCY_TTL_MS = 24 * 60 * 60 * 1000

/** What `lua/create.lua` needs to accept a job. */
type CreateRequest = {
  /** With the digests of its fair key and of its prompt's prefix in its cost. */
  job: NewJob
  id: string
  /** The stored form of the content hash. */
  hash: string
  /** Forms of the payload's fingerprint, the current one first; empty for a job without an idempotency key. */
  fingerprints: readonly string[]
  /** How long the job is kept after its end, ms. */
  retainMs: number
  /** The budgets that the job counts against. */
  windows: readonly BudgetWindow[]
  /** The version of the group's budgets among them; null: the group has none. */
  groupBudgetsVersion: string | null
  /** How the job goes straight to a worker; null: through its lane's queue. */
  direct: DirectPlan | null
  /** The answer has only the state of a known or answered job, without its record or its result. */
  isBrief: boolean
  record: ReadonlyMap<string, string | Buffer>
}

/** The arguments of `lua/create.lua` for one job. The numbers are those by which the script reads them. */
export function encodeCreate(request: CreateRequest): Argument[] {
  const { job, id, hash, direct, groupBudgetsVersion } = request
  const { limits } = job
  return [
    id, // 1
    hash, // 2
    job.cache, // 3
    job.idempotencyKey ?? '', // 4
    request.fingerprints.join(' '), // 5
    IDEMPOTENCY_TTL_MS, // 6
    encodeMostOpen(job), // 7
    request.retainMs, // 8
    job.runAt ?? (job.delayMs ? `+${job.delayMs}` : ''), // 9
    job.group ?? '', // 10
    job.deadline ?? '', // 11
    limits.requestsPerMinute ?? '', // 12
    encodeBudgets(limits.budgetUsdPerDay, limits.operationsUrl ?? null, request.windows), // 13
    limits.refusesUnpriced ? 'unpriced' : encodeEstimate(job.lane, job), // 14
    job.earliestStart == null ? '' : Math.round(job.earliestStart), // 15
    direct?.worker.channel ?? '', // 16
    direct === null ? '' : encodeMessage({ job, id, hash }, direct), // 17
    request.isBrief ? '1' : '', // 18
    groupBudgetsVersion ?? '', // 19
    direct?.start ? encodeStart(direct.worker, direct.start) : '', // 20
    ...[...request.record].flat(), // 21…
  ]
}

/** The arguments of `lua/create.lua` for several jobs, as `encodeCreate` answers those of each. */
export function joinCreates(all: readonly { args: readonly Argument[] }[]): Argument[] {
  return all.flatMap(({ args }) => [args.length, ...args])
}

/** Keys and arguments that `lua/start-here.lua` reads before those of `lua/create.lua`. */
export function encodeGate({ waiting, keys, args }: StartPlan): { keys: string[]; args: Argument[] } {
  return { keys: [...waiting, ...keys], args: [waiting.length, args.length, ...args] }
}

/** The most open jobs of the tenant; where it limits its fair keys, also the digest of the job's key and the limits of a key. */
function encodeMostOpen({ limits, cost }: NewJob): string {
  const { maxQueued, perFairKey } = limits
  if (perFairKey === undefined || cost.fairKey === undefined) return String(maxQueued)
  return `${maxQueued} ${cost.fairKey} ${perFairKey.maxQueued ?? '-'} ${encodeFairKeyLimits(perFairKey)}`
}
