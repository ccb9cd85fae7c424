import type { Lane } from '../config/lanes.ts'
import type { Item, Items, KeptAnswer } from '../jobs/items.ts'
import type { CacheOutcome } from '../jobs/job.ts'
import { normalizeInputs } from '../lib/embedding-input.ts'
import type { JsonObject, JsonValue } from '../lib/json.ts'
import { composeRequest, isSingleAnswer, joinKnown, splitAnswer } from '../providers/embedding-request.ts'
import type { ProviderSuccess, Usage } from '../providers/provider.ts'
import { completeUsage, readUsage } from '../providers/read-usage.ts'
import { isWorthKeeping } from '../providers/worth-keeping.ts'
import type { Passenger } from './passenger.ts'

/** The answer to one job. */
export type Parcel = {
  passenger: Passenger
  result: JsonObject
  /** What was paid for it. */
  usage: Usage | null
  /** True: the provider did not tell all of that. */
  isEstimate: boolean
  /** Set where the answer, or all that was new in it, came from elsewhere than a call for this job. */
  cache?: CacheOutcome
  /** The longest that it may be kept. */
  leftMs?: number
  /** Answers to its single inputs that this job paid for. */
  items: Item[]
}

/** What one provider call carries. */
export type Cargo = {
  /** What is sent; null: nothing, for all is known. */
  body: JsonObject | null
  /** Whom the call is for. */
  passengers: Passenger[]
  /** The answers that are known without it. */
  known: Parcel[]
  /** Estimated tokens of what is sent; null: those that the permit was taken for. */
  tokens: number | null
  /** Gives each of the passengers its part of the answer. */
  share(answer: ProviderSuccess): Parcel[]
}

export type CargoDeps = { items: Items; onError: (error: unknown, what: string) => void }

/** The request of jobs that travel together. One that is no embedding, or an odd one, travels alone and as it is. */
export async function loadCargo(lane: Lane, passengers: Passenger[], deps: CargoDeps): Promise<Cargo> {
  const embeds = passengers.every(
    ({ claimed }) => claimed.type === 'embedding' && normalizeInputs(claimed.body) !== null,
  )
  if (embeds) return loadEmbeddings(lane, passengers, deps)
  const passenger = passengers[0]!
  return {
    body: passenger.claimed.body,
    passengers,
    known: [],
    tokens: null,
    share: (answer) => {
      const { type, body } = passenger.claimed
      return [
        {
          passenger,
          result: answer.body,
          ...completeUsage(type, body, answer.body, answer.usage),
          items: [],
          ...(isWorthKeeping(type, body, answer.body) ? {} : { leftMs: 0 }),
        },
      ]
    },
  }
}

async function loadEmbeddings(lane: Lane, all: Passenger[], deps: CargoDeps): Promise<Cargo> {
  const hashes = all.map(({ claimed }) => deps.items.hashesOf(claimed, lane.id))
  const kept = await recall(all, hashes, deps)
  const request = composeRequest(
    all.map(({ claimed }, index) => ({
      body: claimed.body,
      // Neither does a tenant learn by what it pays what others ask, nor does a job without a cache take part in one.
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
    passengers: all.filter((_, index) => request.parts[index]!.needsCall),
    known: all.flatMap((passenger, index): Parcel[] => {
      const { needsCall, sources } = request.parts[index]!
      if (needsCall) return []
      const result = joinKnown(sources as JsonObject[])
      const usage = readUsage(result)
      return [{ passenger, result, usage, isEstimate: false, cache: 'hit', items: [], ...leftMs(index) }]
    }),
    tokens: request.tokens.reduce((sum, tokens) => sum + tokens, 0),
    share: (answer) => {
      const billed = completeUsage('embedding', request.body ?? {}, answer.body, answer.usage)
      return splitAnswer(answer.body, request, billed.usage.input_tokens).flatMap(
        (share, index): Parcel[] => {
          if (share === null) return []
          const { owned, sources } = request.parts[index]!
          const own = hashes[index]
          const items = own
            ? owned.map(({ input }, at): Item => {
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
              passenger: all[index]!,
              result: share.result,
              usage: toUsage(share.unstated?.usage ?? share.result.usage),
              isEstimate: billed.isEstimate && owned.length > 0,
              items,
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

/** What is kept of each passenger's inputs. Without an answer from the store nothing is known, and all is sent. */
async function recall(
  all: Passenger[],
  hashes: (string[] | null)[],
  { items, onError }: CargoDeps,
): Promise<(KeptAnswer | null)[][]> {
  const kept = all.map((): (KeptAnswer | null)[] => [])
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
        const answers = await items.recall(tenant, [...wanted])
        const byHash = new Map([...wanted].map((hash, at) => [hash, answers[at] ?? null]))
        for (const { index } of readers) {
          kept[index] = hashes[index]!.map((hash) => {
            const one = byHash.get(hash) ?? null
            return one && isSingleAnswer(one.result) ? one : null
          })
        }
      } catch (error) {
        onError(error, 'reading kept vectors')
      }
    }),
  )
  return kept
}
