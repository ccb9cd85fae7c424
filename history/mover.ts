import type { AtRest } from '../jobs/at-rest.ts'
import { digestFairKey } from '../jobs/fair-key.ts'
import {
  type CopiedJob,
  type EndedJob,
  type HistorySource,
  type RemovedJob,
  toUnmarked,
} from '../jobs/history-source.ts'
import { tenantRoot } from '../jobs/keys.ts'
import type { OnUpkeepFailure } from '../lib/visit-all.ts'
import { type PriceUsage, toContribution } from './contribution.ts'
import { costOf, type FinishedJob } from './finished-job.ts'
import type { HistoryStore } from './store.ts'

/** The most jobs copied in one transaction. */
const BLOCK = 300

/** A job that the database refuses is tried again after this time, ms. */
const AGAIN_MS = 300_000

/** How long copies are kept, and what they contain. */
export type MoverSettings = {
  /** How long a job stays in Redis after its end, ms. A failed job may stay longer, for its redrive. */
  hotMs: (status: string) => number
  /** How long the history keeps a job after its end, ms. */
  lifeMs: number
  /** False: the history keeps no prompts and no results. */
  keepsContent: boolean
}

/** Copies ended jobs to the history. It commits them there first, then marks them in Redis, which deletes them after `hotMs`. */
export type Mover = {
  /** Runs until no tenant has due jobs, or the signal aborts. Throws if the database is away. */
  run(signal: AbortSignal): Promise<void>
}

/** Creates the mover; a task of the maintainer runs it. */
export function createMover(deps: {
  source: HistorySource
  store: HistoryStore
  prefix: string
  /** The tenants that have jobs to copy. */
  tenants: () => string[]
  /** Deletes a job from Redis, if it is there. */
  removeHot: (tenant: string, id: string) => Promise<unknown>
  atRest: AtRest
  priceUsage: PriceUsage
  settings: () => MoverSettings
  /** Unix ms, by Redis' clock. */
  now: () => number
  isUnavailable: (error: unknown) => boolean
  onMoved: (jobs: number) => void
  onFailure: OnUpkeepFailure
}): Mover {
  const { source, store, prefix, atRest, now, settings } = deps

  function fairKeyOf(root: string, id: string, stored: string | undefined) {
    if (stored === undefined) return null
    const plain = atRest.openFairKey(root, id, stored)
    if (plain === null) return null
    return { digest: digestFairKey(root, plain, atRest), label: `${id}\n${stored}` }
  }

  function toFinished(root: string, ended: EndedJob): FinishedJob {
    const { id, calls, unpricedCalls, body, result, eventCount } = ended
    const { record, texts } = clean(ended)
    const costNano = costOf(record)
    return {
      ...{ id, record, texts, body, result, eventCount, deliveries: idsOf(texts.deliveries) },
      isNew: ended.copied === '',
      isMarked: ended.copied === `${record.status} ${costNano}`,
      schedule: scheduleOf(record),
      usage: toContribution(
        record,
        fairKeyOf(root, id, record.fair_key),
        { calls, unpricedCalls, costNano },
        deps.priceUsage,
      ),
    }
  }

  function toMark({ id, record, usage }: FinishedJob): CopiedJob {
    const { hotMs } = settings()
    const costs = { costNano: costOf(record), unpricedCalls: usage.unpriced_calls ?? 0 }
    return { id, finishedAt: record.finished_at!, hotMs: hotMs(record.status!), ...costs }
  }

  /** Saves jobs one by one, so that a job that the database refuses holds up no other. Returns the saved ones. */
  async function saveEach(tenant: string, root: string, block: number, jobs: readonly FinishedJob[]) {
    const saved: FinishedJob[] = []
    for (const job of jobs) {
      try {
        await store.save(root, block, [job], settings().lifeMs)
        saved.push(job)
      } catch (error) {
        if (deps.isUnavailable(error)) throw error
        deps.onFailure({ task: 'history', tenant, id: job.id, error })
        await source.postpone(root, { ids: [job.id] }, now() + AGAIN_MS)
      }
    }
    return saved
  }

  /** Tries one deletion or one update of a delivery. False: the database refused it, and it is postponed. */
  async function tryOne(
    tenant: string,
    { kind, id }: { kind: 'deliveries' | 'deleted'; id: string },
    act: () => Promise<void>,
  ): Promise<boolean> {
    try {
      await act()
      return true
    } catch (error) {
      if (deps.isUnavailable(error)) throw error
      deps.onFailure({ task: 'history', tenant, id, error })
      await source.postpone(tenantRoot(prefix, tenant), { [kind]: [id] }, now() + AGAIN_MS)
      return false
    }
  }

  /** Copies deliveries that were sent again. Returns the ids that are done, including those that Redis no longer has. */
  async function updateDeliveries(tenant: string, root: string, ids: readonly string[]) {
    if (ids.length === 0) return []
    const refused = new Set<string>()
    for (const fields of await source.deliveries(root, ids)) {
      const id = fields.id!
      const one = { kind: 'deliveries', id } as const
      if (!(await tryOne(tenant, one, () => store.updateDelivery(root, fields)))) refused.add(id)
    }
    return ids.filter((id) => !refused.has(id))
  }

  async function save(tenant: string, root: string, block: number, jobs: readonly FinishedJob[]) {
    try {
      await store.save(root, block, jobs, settings().lifeMs)
      return jobs
    } catch (error) {
      if (deps.isUnavailable(error)) throw error
      return saveEach(tenant, root, block, jobs)
    }
  }

  /** Moves one block of a tenant. Returns whether there may be more. */
  async function move(tenant: string): Promise<boolean> {
    const root = tenantRoot(prefix, tenant)
    const due = await source.due(root, BLOCK)
    if (due === null) return false
    for (const id of due.deleted) {
      // The process that noted the deletion may have died before it deleted the job from Redis.
      await deps.removeHot(tenant, id)
      let removed: RemovedJob | null = null
      const isTaken = await tryOne(tenant, { kind: 'deleted', id }, async () => {
        removed = await store.remove(root, id, now(), true)
      })
      if (isTaken) await source.endDeletion(root, id, removed)
    }
    const deliveries = await updateDeliveries(tenant, root, due.deliveries)
    const others = due.deleted.length + due.deliveries.length
    const { lifeMs, keepsContent } = settings()
    if (due.ids.length === 0) {
      if (deliveries.length > 0) await source.mark(root, due.block, lifeMs, [], deliveries)
      return others === BLOCK
    }
    const { looked, jobs: ended } = await source.read(root, due.ids, keepsContent)
    const jobs = ended.map((one) => toFinished(root, one))
    const saved = await save(tenant, root, due.block, jobs)
    const read = new Set(jobs.map(({ id }) => id))
    // Jobs that have not ended or are gone are marked too, so that they wait no longer.
    const unread = due.ids.slice(0, looked).filter((id) => !read.has(id))
    const copied = [...saved.map(toMark), ...unread.map(toUnmarked)]
    // Marks the whole block in one step: from then on its jobs count in the history and no longer in Redis.
    await source.mark(root, due.block, lifeMs, copied, deliveries)
    deps.onMoved(saved.length)
    return looked < due.ids.length || due.ids.length + others === BLOCK
  }

  return {
    async run(signal) {
      let waiting = deps.tenants()
      while (waiting.length > 0) {
        const full: string[] = []
        for (const tenant of waiting) {
          if (signal.aborted) return
          try {
            if (await move(tenant)) full.push(tenant)
          } catch (error) {
            if (deps.isUnavailable(error)) throw error
            deps.onFailure({ task: 'history', tenant, error })
          }
        }
        waiting = full
      }
    },
  }
}

/** Replaces NUL characters, which PostgreSQL refuses in texts. */
function clean({ record, texts }: EndedJob): Pick<FinishedJob, 'record' | 'texts'> {
  if (!texts.record.includes('\\u0000')) return { record, texts }
  const pairs = Object.entries(record).map(([name, text]) => [name, text.replaceAll('\0', '\uFFFD')])
  const cleaned = Object.fromEntries(pairs) as Record<string, string>
  return { record: cleaned, texts: { ...texts, record: JSON.stringify(cleaned) } }
}

function idsOf(deliveries: string): string[] {
  return deliveries === '[]' ? [] : (JSON.parse(deliveries) as { id: string }[]).map(({ id }) => id)
}

/** The schedule that the job's metadata names; null: none. */
function scheduleOf({ metadata }: FinishedJob['record']): string | null {
  if (!metadata?.includes('"sch_')) return null
  const { schedule } = JSON.parse(metadata) as Record<string, unknown>
  return typeof schedule === 'string' && schedule.startsWith('sch_') ? schedule : null
}
