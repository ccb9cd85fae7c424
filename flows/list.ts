import type { AtRest } from '../jobs/at-rest.ts'
import { findLostPlace } from '../lib/list-place.ts'
import type { RedisClient } from '../lib/redis.ts'
import { type IndexEntry, walkIndex } from '../lib/walk-index.ts'
import type { FlowStatus } from './flow.ts'
import { flowKey } from './keys.ts'
import { SUMMARY_FIELDS, toFlowRecord } from './record.ts'
import { type FlowSummary, showSummary } from './summary.ts'

export type FlowFilter = { status?: FlowStatus | undefined; name?: string | undefined }
/** A page of flows. `cursor`: the id after which the next page begins. `scanned`: how many flows were scanned, if the page ends early; else null. */
export type FlowPage = {
  data: FlowSummary[]
  hasMore: boolean
  cursor: string | null
  scanned: number | null
}

/** The most flows that one page scans, and how many it reads in one round trip. */
const MOST_SCANNED = 10_000
const BLOCK = 200

/** Lists a tenant's flows, newest first; see FlowPage. */
export async function listFlows(
  { redis, atRest }: { redis: RedisClient; atRest: AtRest },
  root: string,
  filter: FlowFilter,
  limit: number,
  after: string | undefined,
): Promise<FlowPage> {
  const index = filter.status === undefined ? `${root}:flows` : `${root}:flows:status:${filter.status}`
  const place = after === undefined ? null : await findPlace(redis, root, index, after)
  const data: FlowSummary[] = []
  let scanned = 0
  let cursor: string | null = null
  const block = filter.name === undefined ? Math.min(BLOCK, limit + 1) : BLOCK
  for await (const entries of walkIndex(redis, index, { order: 'desc', after: place, block })) {
    const some = entries.slice(0, MOST_SCANNED - scanned)
    if (some.length === 0) return { data, hasMore: true, cursor, scanned }
    const answers = await Promise.all(
      some.map(({ id }) => redis.hmgetBuffer(flowKey(root, id), ...SUMMARY_FIELDS)),
    )
    for (const [at, { id }] of some.entries()) {
      const stored = SUMMARY_FIELDS.flatMap((name, field) => {
        const value = answers[at]![field]
        return value ? [[name, value] as const] : []
      })
      const record = toFlowRecord(id, new Map(stored))
      const isAsked = filter.name === undefined || record?.name === filter.name
      if (record === null || record.isDeleted || !isAsked) continue
      if (data.length === limit) return { data, hasMore: true, cursor: data.at(-1)!.id, scanned: null }
      data.push(showSummary(record, (error) => atRest.openError(root, JSON.parse(error))))
    }
    scanned += some.length
    cursor = some.at(-1)!.id
  }
  return { data, hasMore: false, cursor: data.at(-1)?.id ?? null, scanned: null }
}

async function findPlace(redis: RedisClient, root: string, index: string, id: string): Promise<IndexEntry> {
  const score = await redis.hget(flowKey(root, id), 'created_at')
  // If the flow was deleted meanwhile, the list continues from where it was.
  return { id, score: score ?? (await findLostPlace(redis, index, id)) ?? '+inf' }
}
