import type { RedisClient } from '../lib/redis.ts'
import { type BatchLine, type ProviderBatch, readLine, toProviderBatch, writeLine } from './batch.ts'
import { batchesRoot, batchLanesKey } from './keys.ts'
import type { ProviderBatchScripts } from './scripts.ts'

/** How long a lease on a lane lasts without a renewal, ms. A lane waits no longer than this after its worker died. */
const LEASE_MS = 15_000
/** How long the record of an ended batch is kept, ms. */
const KEEP_MS = 7 * 24 * 60 * 60 * 1000
/** Most lines in one script. */
const MOST_AT_ONCE = 500
/** How many turnarounds are kept, and for how long, ms. */
const TURNAROUNDS = 50
const TURNAROUNDS_MS = 7 * 24 * 60 * 60 * 1000

/** A lane that this process works on, as long as it holds the lease. */
export type HeldLane = { lane: string; token: string }

/** Another worker holds the lane now. */
export class LaneLostError extends Error {
  override readonly name = 'LaneLostError'
  override readonly message = 'another worker has the provider batches of this lane'
}

/** What waits in a lane. Times are Unix ms. */
export type WaitingView = {
  now: number
  hasAny: boolean
  leaveAt: number | null
  delayedUntil: number | null
  /** No batch is made before this time. */
  holdUntil: number
  classes: { name: string; since: number; count: number }[]
}

/** The outcome of a line's job. */
export type SettledLine = {
  index: number
  as: 'completed' | 'failed' | 'left' | 'dropped'
  costUsd?: number
  savedUsd?: number
}

/** Fields of a record that may change. */
export type BatchChange = Partial<{
  state: ProviderBatch['state']
  outcome: NonNullable<ProviderBatch['outcome']>
  provider_id: string
  unsure: '1' | ''
  file_id: string
  sent_lines: number
  intent_at: number
  source: string
  submitted_at: number
  ready_at: number
  ready_as: NonNullable<ProviderBatch['outcome']> | ''
  cancel_asked_at: number
  error: string
  rejected: string
}>

/** Provider batches in Redis. Methods that take a held lane throw LaneLostError if another worker holds it. */
export type ProviderBatchStore = {
  readonly leaseMs: number
  lanes(): Promise<string[]>
  /** Removes a lane without batches and waiting jobs from the list of lanes. */
  trim(lane: string): Promise<void>
  claim(lane: string, token: string): Promise<HeldLane | null>
  renew(held: HeldLane): Promise<void>
  release(held: HeldLane): Promise<void>
  look(held: HeldLane): Promise<WaitingView>
  /** Jobs whose time to leave has come. `all`: all waiting jobs. */
  leaving(held: HeldLane, now: number, all: boolean): Promise<Pick<BatchLine, 'tenant' | 'job' | 'entry'>[]>
  drop(held: HeldLane, jobs: readonly Pick<BatchLine, 'tenant' | 'job' | 'entry'>[]): Promise<void>
  /** Makes a batch of jobs of one class. False: none fits. */
  cut(
    held: HeldLane,
    batch: { id: string; class: string; type: string },
    most: { lines: number; bytes: number; queuedTokens: number },
  ): Promise<boolean>
  /** Batches that are not over, oldest first. */
  open(lane: string): Promise<ProviderBatch[]>
  get(lane: string, id: string): Promise<ProviderBatch | null>
  change(held: HeldLane, id: string, change: BatchChange): Promise<void>
  /** The lines whose jobs wait for the batch, in order. */
  lines(lane: string, id: string): Promise<BatchLine[]>
  line(lane: string, id: string, indexes: number[]): Promise<(BatchLine | null)[]>
  note(held: HeldLane, id: string, lines: readonly BatchLine[]): Promise<void>
  settle(held: HeldLane, id: string, lines: readonly SettledLine[]): Promise<void>
  /** Makes no batch for a while. */
  hold(held: HeldLane, ms: number): Promise<void>
  noteTurnaround(held: HeldLane, ms: number): Promise<void>
  /** The latest batches of all lanes, newest first. */
  recent(limit: number): Promise<ProviderBatch[]>
}

export function createProviderBatchStore(deps: {
  redis: RedisClient
  scripts: ProviderBatchScripts
  prefix: string
  leaseMs?: number
}): ProviderBatchStore {
  const { redis, scripts, prefix, leaseMs = LEASE_MS } = deps
  const rootOf = (lane: string) => batchesRoot(prefix, lane)
  const keyOf = (lane: string, id: string) => `${rootOf(lane)}:batch:${id}`
  const memberOf = ({ tenant, job, entry }: Pick<BatchLine, 'tenant' | 'job' | 'entry'>) =>
    `${job}-${entry} ${tenant}`

  async function run(
    name: Parameters<ProviderBatchScripts>[0],
    { lane, token }: HeldLane,
    args: (string | number)[],
  ): Promise<unknown> {
    const answer = await scripts(name, rootOf(lane), [token, ...args])
    if (answer === 0) throw new LaneLostError()
    return answer
  }

  /** Makes no batch for so long, ms; `tookMs`: how long a batch took, to be remembered. */
  async function holdBack(
    held: HeldLane,
    { forMs, tookMs }: { forMs: number; tookMs: number | null },
  ): Promise<void> {
    const remembered = tookMs === null ? ['', 0, 0] : [Math.round(tookMs), TURNAROUNDS, TURNAROUNDS_MS]
    await run('hold', held, [Math.round(forMs), ...remembered])
  }

  /** Holds the lane for so long from now, ms; 0 lets go of it. False: another holds it. */
  async function lease({ lane, token }: HeldLane, ms: number): Promise<boolean> {
    return (await scripts('lease', rootOf(lane), [token, ms])) !== 0
  }

  async function get(lane: string, id: string): Promise<ProviderBatch | null> {
    return toProviderBatch(lane, await redis.hgetall(keyOf(lane, id)))
  }

  async function getAll(lane: string, ids: string[]): Promise<ProviderBatch[]> {
    return (await Promise.all(ids.map((id) => get(lane, id)))).filter((batch) => batch !== null)
  }

  /** Some of the waiting members. */
  async function anyWaiting(root: string): Promise<string[]> {
    let cursor = '0'
    do {
      const [next, found] = await redis.hscan(`${root}:lines`, cursor, 'COUNT', MOST_AT_ONCE)
      const members = found.filter((_, at) => at % 2 === 0)
      if (members.length > 0) return members
      cursor = next
    } while (cursor !== '0')
    return []
  }

  async function inBlocks<T>(
    all: readonly T[],
    each: (block: readonly T[]) => Promise<unknown>,
  ): Promise<void> {
    for (let from = 0; from < all.length; from += MOST_AT_ONCE)
      await each(all.slice(from, from + MOST_AT_ONCE))
  }

  return {
    leaseMs,
    lanes: () => redis.smembers(batchLanesKey(prefix)),

    async trim(lane) {
      const root = rootOf(lane)
      const left = () => Promise.all([':lines', ':open', ':ended'].map((key) => redis.exists(root + key)))
      if ((await left()).some((exists) => exists === 1)) return
      await redis.srem(batchLanesKey(prefix), lane)
      // A job may have been added in between.
      if ((await left()).some((exists) => exists === 1)) await redis.sadd(batchLanesKey(prefix), lane)
    },

    async claim(lane, token) {
      const root = rootOf(lane)
      const [waits, isOpen] = await Promise.all([redis.exists(`${root}:lines`), redis.exists(`${root}:open`)])
      if (waits + isOpen === 0) return null
      const taken = await redis.set(`${root}:lease`, token, 'PX', leaseMs, 'NX')
      return taken === null ? null : { lane, token }
    },
    async renew(held) {
      if (!(await lease(held, leaseMs))) throw new LaneLostError()
    },
    async release(held) {
      await lease(held, 0)
    },

    async look(held) {
      const [now, any, leave, delayed, hold, ...rest] = (await run('look', held, [])) as string[]
      const classes: WaitingView['classes'] = []
      for (let at = 0; at + 2 < rest.length; at += 3) {
        classes.push({ name: rest[at]!, since: Number(rest[at + 1]), count: Number(rest[at + 2]) })
      }
      const time = (text: string | undefined) => (text ? Number(text) : null)
      return {
        now: Number(now),
        hasAny: Number(any) > 0,
        leaveAt: time(leave),
        delayedUntil: time(delayed),
        holdUntil: Number(hold),
        classes,
      }
    },

    async leaving({ lane }, now, all) {
      const root = rootOf(lane)
      const members = all
        ? await anyWaiting(root)
        : await redis.zrangebyscore(`${root}:leave`, '-inf', now, 'LIMIT', 0, MOST_AT_ONCE)
      return members.map((member) => {
        const { tenant, job, entry } = readLine(0, `0 ${member}`)
        return { tenant, job, entry }
      })
    },

    async drop({ lane }, jobs) {
      await inBlocks(jobs, (block) => scripts('drop', rootOf(lane), block.map(memberOf)))
    },

    async cut(held, { id, class: className, type }, most) {
      let taken = 0
      for (let isFull = false; !isFull; ) {
        const answer = (await run('cut', held, [
          ...[id, className, MOST_AT_ONCE, most.lines, most.bytes, most.queuedTokens],
          ...['type', type],
        ])) as [number, string]
        taken += answer[0]
        isFull = answer[1] === '1'
      }
      return taken > 0
    },

    async open(lane) {
      return getAll(lane, await redis.zrange(`${rootOf(lane)}:open`, '0', '-1'))
    },
    get,

    async change(held, id, change) {
      const fields = Object.entries(change).flatMap(([name, value]) => [name, String(value)])
      await run('change', held, [id, KEEP_MS, ...fields])
    },

    async lines(lane, id) {
      const all = await redis.hgetall(`${keyOf(lane, id)}:lines`)
      return Object.entries(all)
        .map(([index, text]) => readLine(Number(index), text))
        .sort((one, other) => one.index - other.index)
    },

    async line(lane, id, indexes) {
      if (indexes.length === 0) return []
      const texts = await redis.hmget(`${keyOf(lane, id)}:lines`, ...indexes.map(String))
      return texts.map((text, at) => (text === null ? null : readLine(indexes[at]!, text)))
    },

    async note(held, id, lines) {
      await inBlocks(lines, (block) =>
        run('note', held, [id, ...block.flatMap((line) => [line.index, writeLine(line)])]),
      )
    },

    async settle(held, id, lines) {
      const nano = (usd = 0) => String(Math.round(usd * 1e9))
      await inBlocks(lines, (block) =>
        run('settle', held, [
          id,
          ...block.flatMap((line) => [line.index, line.as, nano(line.costUsd), nano(line.savedUsd)]),
        ]),
      )
    },

    async hold(held, ms) {
      await holdBack(held, { forMs: ms, tookMs: null })
    },
    async noteTurnaround(held, ms) {
      await holdBack(held, { forMs: 0, tookMs: ms })
    },

    async recent(limit) {
      const lanes = await redis.smembers(batchLanesKey(prefix))
      const found = await Promise.all(
        lanes.map(async (lane) => {
          const root = rootOf(lane)
          const [open, ended] = await Promise.all([
            redis.zrange(`${root}:open`, '0', '-1'),
            redis.zrange(`${root}:ended`, '0', String(limit - 1), 'REV'),
          ])
          return getAll(lane, [...open, ...ended])
        }),
      )
      // Ids sort by creation.
      return found
        .flat()
        .sort((one, other) => (one.id < other.id ? 1 : -1))
        .slice(0, limit)
    },
  }
}
