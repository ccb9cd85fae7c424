import { setImmediate as nextTurn } from 'node:timers/promises'
import { normalizeInputs } from '../lib/embedding-input.ts'
import type { JsonObject } from '../lib/json.ts'
import { UnreadableError } from '../lib/sealer.ts'
import type { Usage } from '../lib/usage.ts'
import type { AtRest } from './at-rest.ts'
import type { Claimed } from './claim.ts'
import { hashInputsOf } from './content-hash.ts'
import { tenantRoot } from './keys.ts'
import type { Scripts } from './scripts.ts'

/** The inputs of larger jobs are neither looked up nor cached singly. */
const MOST_INPUTS = 2048

/** Answers in one call of a script: half a megabyte of vectors, and a few ms of (de)compression in one turn. */
const ITEMS_PER_CALL = 64

/** A cached answer to one input. */
export type CachedEmbedding = {
  result: JsonObject
  /** How much longer it is cached, ms. */
  leftMs: number
}

/** An answer to one input, and the content hash under which it is cached. */
export type EmbeddingEntry = { hash: string; result: JsonObject; usage: Usage | null }

/**
 * Answers to single inputs of embedding jobs. Such an answer is cached like the answer to a job with that input alone,
 * under the same key. So `create` finds it for such a job, and the answer to such a job is found here.
 */
export type EmbeddingCache = {
  /** Where the answer to each input of the job is cached; null: nowhere, or `start` has looked already. */
  hashesOf(claimed: Claimed, lane: string): string[] | null
  /**
   * A tenant's cached answers, in the order of the hashes, in one round trip; null for an answer that is not cached.
   */
  get(tenant: string, hashes: readonly string[]): Promise<(CachedEmbedding | null)[]>
  /** Caches the answers that completed jobs of a tenant paid for, in one round trip. */
  set(tenant: string, bought: readonly { id: string; items: readonly EmbeddingEntry[] }[]): Promise<void>
}

/** `settings`: how long answers are cached, up to which size, and whether single inputs are. */
export function createEmbeddingCache(deps: {
  scripts: Scripts
  atRest: AtRest
  prefix: string
  settings: () => { isOn: boolean; ttlMs: number; maxBytes: number }
}): EmbeddingCache {
  const { scripts, atRest, prefix, settings } = deps

  /** Null for an answer that cannot be decrypted, as if it were not cached. */
  function open(root: string, hash: string, stored: Buffer): JsonObject | null {
    try {
      return atRest.openResult(root, null, hash, stored)
    } catch (error) {
      if (error instanceof UnreadableError) return null
      throw error
    }
  }

  return {
    hashesOf(claimed, lane) {
      const { isOn, ttlMs } = settings()
      if (!isOn || ttlMs <= 0 || claimed.cacheMode === 'off') return null
      const hashes = hashInputs(lane, claimed.body)?.map((hash) => atRest.digests(hash)[0]) ?? null
      return hashes?.length === 1 && hashes[0] === claimed.hash ? null : hashes
    },

    async get(tenant, hashes) {
      const root = tenantRoot(prefix, tenant)
      const answers = await Promise.all(
        slices(hashes).map((some) => scripts.run('get-embeddings', root, some)),
      )
      const kept: (CachedEmbedding | null)[] = []
      for (const flat of answers as (Buffer | number | null)[][]) {
        for (let index = 0; index < flat.length; index += 2) {
          const result = flat[index] as Buffer | null
          const opened = result && open(root, hashes[kept.length]!, result)
          kept.push(opened && { result: opened, leftMs: Number(flat[index + 1]) })
        }
        if (answers.length > 1) await nextTurn()
      }
      return kept
    },

    async set(tenant, bought) {
      const { ttlMs, maxBytes } = settings()
      const root = tenantRoot(prefix, tenant)
      const calls: Promise<unknown>[] = []
      for (const { id, items } of bought) {
        for (const some of slices(items)) {
          const args = some.flatMap(({ hash, result, usage }) => {
            const stored = atRest.sealResult(root, id, hash, result)
            return Buffer.byteLength(stored) > maxBytes
              ? []
              : [hash, stored, usage ? JSON.stringify(usage) : '']
          })
          if (args.length === 0) continue
          const call = scripts.run('set-embeddings', root, [id, ttlMs, ...args])
          call.catch(() => {}) // it may fail before all are sent, and is awaited below
          calls.push(call)
          if (some.length === ITEMS_PER_CALL) await nextTurn()
        }
      }
      await Promise.all(calls)
    },
  }
}

/**
 * The content hash of each input, as a job of its own that names the lane itself. An alias would not do: its lanes may
 * be different models, whose vectors must not be mixed in one answer. Null if the input has another shape, or there are
 * too many inputs.
 */
export function hashInputs(lane: string, body: JsonObject): string[] | null {
  const inputs = normalizeInputs(body)
  if (inputs === null || inputs.length > MOST_INPUTS) return null
  return hashInputsOf(lane, body, inputs)
}

function slices<T>(list: readonly T[]): T[][] {
  const parts: T[][] = []
  for (let at = 0; at < list.length; at += ITEMS_PER_CALL) parts.push(list.slice(at, at + ITEMS_PER_CALL))
  return parts
}
