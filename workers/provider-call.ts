import type { Lane } from '../config/lanes.ts'
import type { Files } from '../files/files.ts'
import type { CachedEmbedding, EmbeddingCache, EmbeddingEntry } from '../jobs/embedding-cache.ts'
import type { ResultFile } from '../jobs/finish.ts'
import type { CacheOutcome } from '../jobs/job.ts'
import { normalizeInputs } from '../lib/embedding-input.ts'
import type { JsonObject, JsonValue } from '../lib/json.ts'
import type { Usage } from '../lib/usage.ts'
import { isCacheable } from '../providers/cacheable.ts'
import { composeRequest, isSingleAnswer, joinKnown, splitAnswer } from '../providers/embedding-request.ts'
import { joinModerations, splitModerations } from '../providers/moderation-request.ts'
import type { ProviderSuccess } from '../providers/provider.ts'
import { completeUsage, readServedTier, readUsage } from '../providers/read-usage.ts'
import type { ClaimedJob } from './claimed-job.ts'
import { nameMedia } from './name-media.ts'

/** The part of an answer that belongs to one job. */
export type JobResult = {
  job: ClaimedJob
  result: JsonObject
  /** What was paid for it. */
  usage: Usage | null
  /** True: the provider did not report the whole usage, and a part of it is estimated. */
  isEstimate: boolean
  /** The tier of service that the answer names; null: none. */
  servedTier: string | null
  /** Set if the answer, or every new part of it, did not come from a call for this job. */
  cache?: CacheOutcome
  /** The longest time that the answer may be cached, ms. */
  leftMs?: number
  /** The answers to single inputs that this job paid for. */
  embeddings: EmbeddingEntry[]
  /** Files whose ids are in the result. */
  files?: ResultFile[]
  /** Ids of files of the job's chunks, which are stored already. */
  partials?: readonly string[]
}

/** One call to a provider, and how its answer is divided. */
export type ProviderCall = {
  /** The request; null: all answers are known, and nothing is sent. */
  body: JsonObject | null
  /** The jobs of the call. */
  jobs: ClaimedJob[]
  /** Answers that are known without the call. */
  known: JobResult[]
  /** Estimated tokens of what is sent; null: as many as the permit was taken for. */
  tokens: number | null
  /** Gives each job its part of the answer. */
  split(answer: ProviderSuccess): JobResult[]
}

export type ProviderCallDeps = {
  embeddingCache: EmbeddingCache
  files: Pick<Files, 'newId'>
  onError: (error: unknown, what: string) => void
}

/**
 * The request for jobs that share a call. A job that is neither an embedding nor a moderation, or whose inputs cannot
 * be taken apart, goes alone and unchanged.
 */
export async function prepareCall(
  lane: Lane,
  claimedJobs: ClaimedJob[],
  deps: ProviderCallDeps,
): Promise<ProviderCall> {
  const embeds = claimedJobs.every(
    ({ claimed }) => claimed.type === 'embedding' && normalizeInputs(claimed.body) !== null,
  )
  if (embeds) return loadEmbeddings(lane, claimedJobs, deps)
  if (claimedJobs.length > 1) return joinClaimedModerations(claimedJobs)
  const claimedJob = claimedJobs[0]!
  return {
    body: claimedJob.claimed.body,
    jobs: claimedJobs,
    known: [],
    tokens: null,
    split: (answer) => {
      const { type, body } = claimedJob.claimed
      return [
        {
          job: claimedJob,
          ...nameMedia(answer, deps.files.newId),
          ...completeUsage(type, body, answer.body, answer.usage),
          servedTier: answer.servedTier ?? readServedTier(answer.body),
          embeddings: [],
          ...(isCacheable(type, body, answer.body) ? {} : { leftMs: 0 }),
        },
      ]
    },
  }
}

function joinClaimedModerations(jobs: ClaimedJob[]): ProviderCall {
  const bodies = jobs.map(({ claimed }) => claimed.body)
  return {
    body: joinModerations(bodies),
    jobs,
    known: [],
    tokens: null,
    split: (answer) =>
      splitModerations(answer.body, bodies).map((result, index) => ({
        job: jobs[index]!,
        result,
        ...completeUsage('moderation', bodies[index]!, result, null),
        servedTier: null,
        embeddings: [],
      })),
  }
}

async function loadEmbeddings(lane: Lane, all: ClaimedJob[], deps: ProviderCallDeps): Promise<ProviderCall> {
  const hashes = all.map(({ claimed }) => deps.embeddingCache.hashesOf(claimed, lane.id))
  const kept = await readCached(all, hashes, deps)
  const request = composeRequest(
    all.map(({ claimed }, index) => ({
      body: claimed.body,
      // A tenant must not learn from its costs what others ask, and a job without a cache must not use one.
      group: claimed.cacheMode === 'off' ? null : claimed.tenant,
      known: kept[index]!.map((one) => one?.result ?? null),
    })),
  )
  const leftMs = (index: number) => {
    const shortest = Math.min(...kept[index]!.map((one) => one?.leftMs ?? Number.POSITIVE_INFINITY))
    return Number.isFinite(shortest) ? { leftMs: shortest } : {}
  }
  return {
    body: request.body,
    jobs: all.filter((_, index) => request.parts[index]!.needsCall),
    known: all.flatMap((claimedJob, index): JobResult[] => {
      const { needsCall, sources } = request.parts[index]!
      if (needsCall) return []
      const result = joinKnown(sources as JsonObject[])
      const usage = readUsage(result)
      return [
        {
          job: claimedJob,
          result,
          usage,
          isEstimate: false,
          servedTier: null,
          cache: 'hit',
          embeddings: [],
          ...leftMs(index),
        },
      ]
    }),
    tokens: request.tokens.reduce((sum, tokens) => sum + tokens, 0),
    split: (answer) => {
      const billed = completeUsage('embedding', request.body ?? {}, answer.body, answer.usage)
      return splitAnswer(answer.body, request, billed.usage.input_tokens).flatMap(
        (share, index): JobResult[] => {
          if (share === null) return []
          const { owned, sources } = request.parts[index]!
          const own = hashes[index]
          const items = own
            ? owned.map(({ input }, at): EmbeddingEntry => {
                const result = share.alone[at]!
                return {
                  hash: own[input]!,
                  result,
                  usage: toUsage(share.unstated?.alone[at] ?? result.usage),
                }
              })
            : []
          return [
            {
              job: all[index]!,
              result: share.result,
              usage: toUsage(share.unstated?.usage ?? share.result.usage),
              isEstimate: billed.isEstimate && owned.length > 0,
              servedTier: readServedTier(answer.body),
              embeddings: items,
              ...leftMs(index),
              ...(owned.length === 0 && sources.length > 0 ? { cache: 'shared' as const } : {}),
            },
          ]
        },
      )
    },
  }
}

function toUsage(usage: JsonValue | undefined): Usage | null {
  return readUsage({ usage })
}

/**
 * The cached answers to the inputs of each job. If the store does not answer, none is known, and all inputs are sent.
 */
async function readCached(
  all: ClaimedJob[],
  hashes: (string[] | null)[],
  { embeddingCache, onError }: ProviderCallDeps,
): Promise<(CachedEmbedding | null)[][]> {
  const kept = all.map((): (CachedEmbedding | null)[] => [])
  const byTenant = Map.groupBy(
    all.flatMap(({ claimed }, index) =>
      claimed.cacheMode === 'use' && hashes[index] ? [{ tenant: claimed.tenant, index }] : [],
    ),
    ({ tenant }) => tenant,
  )
  await Promise.all(
    [...byTenant].map(async ([tenant, readers]) => {
      const wanted = new Set(readers.flatMap(({ index }) => hashes[index]!))
      try {
        const answers = await embeddingCache.get(tenant, [...wanted])
        const byHash = new Map([...wanted].map((hash, at) => [hash, answers[at] ?? null]))
        for (const { index } of readers) {
          kept[index] = hashes[index]!.map((hash) => {
            const one = byHash.get(hash) ?? null
            return one && isSingleAnswer(one.result) ? one : null
          })
        }
      } catch (error) {
        onError(error, 'reading cached vectors')
      }
    }),
  )
  return kept
}
