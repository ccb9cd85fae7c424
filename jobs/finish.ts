import type { Emit } from '../lib/emitter.ts'
import type { JsonObject } from '../lib/json.ts'
import type { Usage } from '../lib/usage.ts'
import type { AtRest } from './at-rest.ts'
import { USUAL_STATUS } from './attempts.ts'
import type { Claimed } from './claim.ts'
import { gatherCalls } from './gather-calls.ts'
import type { Attempt, CacheOutcome, JobError, Tier } from './job.ts'
import type { Outbox } from './outbox.ts'
import type { ProviderState } from './provider-state.ts'
import type { StoredUsage } from './record.ts'
import type { Argument, Scripts } from './scripts.ts'

/** Most outcomes that one script stores, and most bytes that their results have together. */
const MOST_STORED = 16
const MOST_STORED_BYTES = 256 * 1024

/** How a call ended, for the record. */
export type AttemptEnd = {
  outcome: Exclude<Attempt['outcome'], 'running' | 'lost'>
  latency_ms: number
  status?: number | null
  error_code?: string
  usage?: Usage | null
  /** The source of the lane that was called; absent: the lane has none. */
  source?: string
  /** The tier of service that the call asked for, if its intent names another one. */
  tier?: Tier
  /** The tier of service that the answer names; absent: standard. */
  served_tier?: string
  usage_is_estimate?: true
  /** Absent: the cost is not known, or there is none. */
  cost_usd?: number
  /** The call costs something, but its lane has no price. */
  is_unpriced?: true
  cost_is_estimate?: true
  ambiguous?: boolean
}

/** The result of one job of a call. */
export type Completion = {
  claimed: Claimed
  /** Null: no call was made for the job, and the attempt does not count. */
  end: AttemptEnd | null
  result: JsonObject
  usage: Usage | null
  /** Null: not known. */
  costUsd: number | null
  /** The tier of service that the answer names; absent: standard. */
  servedTier?: string
  /** What the provider's prompt cache saved; absent: nothing. */
  savedUsd?: number
  /** True: the provider did not report the whole usage, and a part of it is estimated. */
  isEstimate?: boolean
  /** Where the answer came from, if the record does not say so already. */
  cache?: CacheOutcome
  /** Longest time to cache the answer, ms, because it contains cached answers. */
  leftMs?: number
  /** Files that belong to the result and are stored with it. */
  files?: readonly ResultFile[]
  /** Ids of files of the job's chunks, which are stored already and are deleted with the job. */
  partials?: readonly string[]
}

/** Bytes that the result names by a file's id. */
export type ResultFile = { id: string; filename: string; bytes: Uint8Array }

/** A result in the form in which the store keeps it. Any process can store it. */
export type Finish = { tenant: string; id: string; args: Argument[]; files?: readonly ResultFile[] }

/** Events of ended jobs. They are emitted when the store has the change. */
export type FinishEvents = {
  'job.completed': Completion
  /** The job failed by a call, or without a call because of its record. */
  'job.failed': { claimed: Omit<Claimed, 'body'>; end: AttemptEnd; error: JobError }
}

/** How workers end jobs. All methods are idempotent, and throw if Redis is unavailable. */
export type Finishes = {
  /** Stores results and ends the jobs and their followers. */
  complete(completions: Completion[]): Promise<void>
  /** What `complete` sends. If this process dies first, another one sends it with `restore`. */
  encode(completions: Completion[]): Finish[]
  restore(finishes: Finish[]): Promise<void>
  /** Fails a job. `own`: only this job failed; its followers continue without it. */
  fail(claimed: Omit<Claimed, 'body'>, end: AttemptEnd, error: JobError, own: boolean): Promise<void>
}

export type FinishesDeps = {
  scripts: Scripts
  outbox: Outbox
  rootOf: (tenant: string) => string
  atRest: AtRest
  providerState: ProviderState
  settings: () => { retainMs: number; cacheTtlMs: number; cacheMaxBytes: number }
  /** Stores the files of results. No job holds them until its result is stored. A second call stores the same files. */
  putFiles: (tenant: string, files: readonly ResultFile[]) => Promise<void>
  events?: Emit<FinishEvents>
}

/** Index of the result, or of the error, among the arguments of finish.lua, and their number. */
const RESULT = 7
const FINISH_ARGUMENTS = 13

function sizeOf(argument: Argument): number {
  return typeof argument === 'number' ? 0 : argument.length
}

/**
 * The end of a call that completed its job, without what the job says too: the usual status, and a usage equal to the
 * job's.
 */
function shorten(end: AttemptEnd, usage: Usage | null): object {
  const { status, usage: own, ...rest } = end
  return {
    ...rest,
    ...(status === USUAL_STATUS ? {} : { status: status ?? null }),
    ...(own === usage || JSON.stringify(own ?? null) === JSON.stringify(usage) ? {} : { usage: own }),
  }
}

function toStored(usage: Usage, isEstimate = false, tier?: string, savedUsd?: number): StoredUsage {
  return {
    ...usage,
    ...(isEstimate ? { is_estimate: true } : {}),
    ...(tier === undefined ? {} : { tier }),
    ...(savedUsd === undefined ? {} : { saved_nano: Math.round(savedUsd * 1e9) }),
  }
}

/** What finish.lua answers for a job. */
type FinishAnswer = [kind: Buffer, left: number, promoted: Buffer]

export function createFinishes(deps: FinishesDeps): Finishes {
  const { scripts, outbox, rootOf, atRest, providerState, settings } = deps

  /** Stores an outcome. One script stores all that arrive in one turn of the event loop, from several sockets. */
  const store = gatherCalls({
    keyOf: ({ tenant }: Pick<Finish, 'tenant' | 'args'>) => tenant,
    run: async (finishes) =>
      (await scripts.run(
        'finish',
        rootOf(finishes[0]!.tenant),
        finishes.flatMap(({ args }) => args),
      )) as FinishAnswer[],
    most: MOST_STORED,
    size: { of: ({ args }) => sizeOf(args[RESULT]!), most: MOST_STORED_BYTES },
    within: 'turn',
  })

  /** Ends the followers that the script `finish` left. */
  async function finishFollowers(
    claimed: Pick<Claimed, 'tenant' | 'id'>,
    args: Argument[],
    answer: FinishAnswer,
  ): Promise<void> {
    const root = rootOf(claimed.tenant)
    let [kind, left, promoted] = answer
    await outbox.dispatchById(claimed.tenant, promoted.toString())
    while (left > 0) {
      if (kind.toString() === 'carried') {
        // The job's record has no result for its followers, so the result is sent again. The cost of the call is booked
        // only once.
        ;[kind, left, promoted] = await store({ tenant: claimed.tenant, args })
      } else {
        left = await finishNextFollowers(scripts, root, claimed.id, settings().retainMs)
      }
    }
  }

  function encode(completions: Completion[]): Finish[] {
    const { retainMs, cacheTtlMs, cacheMaxBytes } = settings()
    return completions.map(
      ({
        claimed,
        end,
        result,
        usage,
        costUsd,
        servedTier,
        savedUsd,
        isEstimate,
        cache,
        leftMs,
        files,
        partials,
      }) => {
        const { tenant, id, hash } = claimed
        const stored = atRest.sealResult(rootOf(tenant), id, hash, result)
        const ttlMs = Math.min(cacheTtlMs, leftMs ?? cacheTtlMs)
        const ttl = claimed.cacheMode === 'off' || Buffer.byteLength(stored) > cacheMaxBytes ? 0 : ttlMs
        const args = [
          claimed.id,
          claimed.call,
          'completed',
          claimed.hash,
          retainMs,
          end ? JSON.stringify(shorten(end, usage)) : '',
          ttl,
          stored,
          usage ? JSON.stringify(toStored(usage, isEstimate, servedTier, savedUsd)) : '',
          costUsd ?? '',
          cache ?? '',
          isEstimate ? '1' : '',
          [...(files ?? []).map((file) => file.id), ...(partials ?? [])].join(' '),
        ]
        return { tenant: claimed.tenant, id: claimed.id, args, ...(files?.length ? { files } : {}) }
      },
    )
  }

  const isStoredByProvider = ({ claimed, result }: Completion) =>
    claimed.type === 'chat' && claimed.body.store === true && typeof result.id === 'string'

  async function rememberStored(completions: readonly Completion[]): Promise<void> {
    for (const { claimed, result } of completions) {
      const provider = claimed.lane.slice(0, claimed.lane.indexOf('/'))
      await providerState.remember(claimed.tenant, String(result.id), provider)
    }
  }

  /** Stores the files first, so that a completed job has its files. */
  async function storeOne({ tenant, args, files }: Finish): Promise<FinishAnswer> {
    if (files !== undefined) await deps.putFiles(tenant, files)
    // A spooled result of an earlier release lacks the last argument.
    return store({ tenant, args: args.length < FINISH_ARGUMENTS ? [...args, ''] : args })
  }

  async function restore(finishes: Finish[]): Promise<void> {
    const answers = await Promise.all(finishes.map(storeOne))
    for (const [index, finish] of finishes.entries()) {
      await finishFollowers(finish, finish.args, answers[index]!)
    }
  }

  async function fail(
    claimed: Omit<Claimed, 'body'>,
    end: AttemptEnd,
    error: JobError,
    own: boolean,
  ): Promise<void> {
    const { tenant, id, call, hash } = claimed
    const args = [
      id,
      call,
      'failed',
      hash,
      settings().retainMs,
      JSON.stringify(end),
      0,
      atRest.sealError(rootOf(tenant), id, error),
      own ? '1' : '0',
      end.cost_usd ?? 0,
      '',
      end.cost_is_estimate ? '1' : '',
      '',
    ]
    await finishFollowers({ tenant, id }, args, await store({ tenant, args }))
    deps.events?.emit('job.failed', { claimed, end, error })
  }

  return {
    fail,

    async complete(completions) {
      // This comes before the answer, which tells its client the id. Without such jobs there is no wait, because
      // vectors are cached right after their jobs.
      const stored = completions.filter(isStoredByProvider)
      if (stored.length > 0) await rememberStored(stored)
      await restore(encode(completions))
      for (const completion of completions) deps.events?.emit('job.completed', completion)
    },
    encode,
    restore,
  }
}

/** Ends the next block of a leader's followers. Returns how many are left. */
export async function finishNextFollowers(
  scripts: Pick<Scripts, 'run'>,
  root: string,
  id: string,
  retainMs: number,
): Promise<number> {
  return (await scripts.run('finish-followers', root, [id, retainMs])) as number
}
