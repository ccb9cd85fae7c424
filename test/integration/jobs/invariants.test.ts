import fc from 'fast-check'
import { expect, it } from 'vitest'
import type { CacheMode } from '../../../jobs/job.ts'
import type { Held } from '../../../jobs/queue-entry.ts'
import { keysOf } from '../../helpers/redis.ts'
import {
  failure,
  intent,
  jobError,
  LANE,
  loseLease,
  newJob,
  openTestStore,
  type Running,
  retryNow,
  success,
  TENANT,
  type TestStore,
} from '../../helpers/store.ts'

/** What clients and workers may do, with small numbers that choose its target. */
type Step =
  | {
      kind: 'create'
      content: number
      cache: CacheMode
      group: string | null
      later: boolean
      crash: boolean
    }
  | { kind: 'take' }
  | { kind: 'complete' | 'fail' | 'fail_own' | 'retry' | 'die' | 'stream'; which: number }
  /** A call whose worker was given up still comes back with an outcome. */
  | { kind: 'late'; which: number; outcome: 'complete' | 'fail' | 'retry' }
  | { kind: 'cancel' | 'remove' | 'again'; which: number }
  | { kind: 'sweep' }
  /** The time has passed for which answers are kept for equal jobs, or jobs are. */
  | { kind: 'outdate' | 'retire' }

const which = fc.nat(20)
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        kind: fc.constant('create' as const),
        content: fc.nat(1),
        cache: fc.constantFrom('use', 'use', 'use', 'refresh', 'off'),
        group: fc.constantFrom(null, 'a', 'b'),
        later: fc.oneof(
          { weight: 5, arbitrary: fc.constant(false) },
          { weight: 1, arbitrary: fc.constant(true) },
        ),
        crash: fc.oneof(
          { weight: 5, arbitrary: fc.constant(false) },
          { weight: 1, arbitrary: fc.constant(true) },
        ),
      }),
    },
    { weight: 6, arbitrary: fc.constant({ kind: 'take' as const }) },
    {
      weight: 6,
      arbitrary: fc.record({
        kind: fc.constantFrom('complete', 'fail', 'fail_own', 'retry', 'die', 'stream'),
        which,
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({
        kind: fc.constant('late' as const),
        which,
        outcome: fc.constantFrom('complete', 'fail', 'retry'),
      }),
    },
    { weight: 6, arbitrary: fc.record({ kind: fc.constantFrom('cancel', 'remove', 'again'), which }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('sweep', 'outdate', 'retire') }) },
  ),
  { minLength: 5, maxLength: 45 },
)

/** Plays steps against the store: all clients and all workers at once, one step after the other. */
function createPlayer(store: TestStore) {
  const dying = store.openJobs({ outbox: { ...store.outbox, dispatch: async () => {} } })
  const ids: string[] = []
  let running: Running[] = []
  /** Calls whose workers are given up, but which have not come back. */
  let ghosts: Running[] = []
  let tokens = 0
  const pick = <T>(list: T[], index: number): T | undefined => list[index % Math.max(1, list.length)]

  async function begin(held: Held, token: string): Promise<void> {
    const [started] = await store.work.start([{ ...held, token }], intent)
    // A worker that dies right after the claim leaves the entry in the queue.
    const diesAtOnce = tokens % 3 === 2
    if (started?.kind === 'run') {
      running.push({ held: diesAtOnce ? held : store.lane().claimed(held), claimed: started.claimed })
    } else if (started?.kind === 'wait') await store.lane().delay(held, started.at)
    else await store.lane().acknowledge(held)
  }

  async function take(): Promise<boolean> {
    const [held] = await store.lane().fetch(1)
    if (held) await begin(held, held.token)
    return held !== undefined
  }

  async function end({ held, claimed }: Running, outcome: string, isHeld: boolean): Promise<void> {
    if (outcome === 'retry') {
      const waits = await store.work.requeue(claimed, failure, retryNow)
      if (!isHeld) return
      if (held.placed) return waits ? store.outbox.dispatch([{ ...held.placed, notBefore: null }]) : undefined
      return waits ? store.lane().delay(held, Date.now()) : store.lane().acknowledge(held)
    }
    if (outcome === 'complete') {
      const completion = { claimed, end: success, result: { by: claimed.id }, usage: null }
      await store.work.complete([{ ...completion, costUsd: 0.25 }])
    } else await store.work.fail(claimed, failure, jobError, outcome === 'fail_own')
    if (isHeld && !held.placed) await store.lane().acknowledge(held)
  }

  async function play(step: Step): Promise<void> {
    switch (step.kind) {
      case 'create': {
        const job = newJob(
          { cache: step.cache, group: step.group, runAt: step.later ? Date.now() + 3_600_000 : null },
          `content ${step.content}`,
        )
        const outcome = await (step.crash ? dying : store.jobs).create(job)
        if (outcome.kind === 'created') ids.push(outcome.job.id)
        return store.outbox.idle()
      }
      case 'take':
        return void (await take())
      case 'stream': {
        const one = pick(running, step.which)
        if (one) await store.work.stream(one.claimed, [{ piece: 1 }])
        return
      }
      case 'die': {
        const one = pick(running, step.which)
        if (!one) return
        running = running.filter((other) => other !== one)
        ghosts.push(one)
        tokens++
        await loseLease(store, one.held)
        if (!one.held.placed) return begin(one.held, `again-${tokens}`)
        // Found by the sweeper, and queued again.
        await store.outbox.sweep(TENANT, 0)
        return void (await take())
      }
      case 'late': {
        const one = pick(ghosts, step.which)
        ghosts = ghosts.filter((other) => other !== one)
        if (one) await end(one, step.outcome, false)
        return store.outbox.idle()
      }
      case 'cancel':
      case 'remove':
      case 'again': {
        const id = pick(ids, step.which)
        if (id === undefined) return
        const act = { cancel: store.jobs.cancel, remove: store.jobs.remove, again: store.jobs.retry }[
          step.kind
        ]
        await act(TENANT, id)
        return store.outbox.idle()
      }
      case 'sweep':
        await store.outbox.sweep(TENANT, -1)
        await store.maintenance.sweep()
        return void (await store.retention.run())
      case 'outdate':
        for (const key of await keysOf(store.redis, `${store.root}:answer:*`)) {
          if ((await store.redis.hget(key, 'holders')) === '0') await store.redis.del(key)
          else await store.redis.hset(key, 'until', '1')
        }
        return
      case 'retire': {
        const [first] = await store.redis.zrange(`${store.root}:expiry`, '0', '0')
        if (first) await store.redis.zadd(`${store.root}:expiry`, 1, first)
        return void (await store.retention.run())
      }
      default: {
        const one = pick(running, step.which)
        if (!one) return
        running = running.filter((other) => other !== one)
        await end(one, step.kind, true)
        return store.outbox.idle()
      }
    }
  }

  return {
    play,
    /** The workers do everything that is left. */
    async finish(): Promise<void> {
      await store.outbox.sweep(TENANT, -1)
      for (;;) {
        const left = running
        running = []
        for (const one of left) await end(one, 'complete', true)
        await store.outbox.idle()
        if (left.length === 0 && !(await take())) return
      }
    },
  }
}

const terminal = ['completed', 'failed', 'cancelled']
const statuses = ['scheduled', 'queued', 'running', ...terminal]

/** Throws where records, indexes, events, flights and queue do not agree. */
async function checkInvariants({ redis, root, prefix }: TestStore): Promise<void> {
  const ids = await redis.zrange(`${root}:jobs`, '0', '-1')
  const indexed = new Map<string, string>()
  for (const status of statuses) {
    for (const id of await redis.zrange(`${root}:status:${status}`, '0', '-1')) {
      expect(indexed.get(id), `${id} stands in two status indexes`).toBeUndefined()
      indexed.set(id, status)
    }
  }
  expect([...indexed.keys()].sort(), 'jobs without a status').toEqual([...ids].sort())

  const tallies = new Map<string, Record<string, number>>()
  const outbox = new Set(await redis.zrange(`${root}:outbox`, '0', '-1'))
  for (const id of ids) {
    const record = await redis.hgetall(`${root}:job:${id}`)
    const status = record.status!
    expect(indexed.get(id), `status of ${id}`).toBe(status)
    if (record.group) {
      const tally = tallies.get(record.group) ?? {}
      tally[status] = (tally[status] ?? 0) + 1
      tallies.set(record.group, tally)
    }
    const texts = await redis.lrange(`${root}:job:${id}:events`, 0, -1)
    const events = texts.map((text) => JSON.parse(text).event as string)
    const since = events.slice(events.lastIndexOf('job.queued'))
    const ends = since.filter((event) => terminal.includes(event.slice('job.'.length)))
    if (terminal.includes(status)) {
      expect([ends, since.at(-1)], `events of ${id}`).toEqual([[`job.${status}`], `job.${status}`])
      continue
    }
    expect(ends, `events of ${id}, which is open`).toEqual([])
    if (record.leader) {
      const standing = await redis.zscore(`${root}:followers:${record.hash}`, id)
      expect(standing, `${id} follows, but is not among the followers`).not.toBeNull()
      expect(await redis.get(`${root}:flight:${record.hash}`), `nobody leads ${id}`).not.toBeNull()
      continue
    }
    const entry = `${id}-${record.entries}`
    const queued = await redis.exists(`${prefix}:{l:${LANE}}:calls:${entry}`)
    expect(queued === 1 || outbox.has(entry), `${id} is ${status} without an entry`).toBe(true)
  }

  for (const name of ['a', 'b']) {
    const counts = await redis.hgetall(`${root}:group:${name}`)
    const tally = tallies.get(name) ?? {}
    for (const status of statuses) {
      expect(Number(counts[status] ?? 0), `${status} in group ${name}`).toBe(tally[status] ?? 0)
    }
    const total = Object.values(tally).reduce((sum, count) => sum + count, 0)
    expect(Number(counts.total ?? 0), `total of group ${name}`).toBe(total)
  }
  await checkAnswers(redis, root, ids)

  const named = await redis.zrange(`${root}:groups`, '0', '-1')
  expect(named.sort(), 'the index of groups').toEqual([...tallies.keys()].sort())

  for (const key of await keysOf(redis, `${root}:followers:*`)) {
    for (const id of await redis.zrange(key, '0', '-1')) {
      const follower = await redis.hgetall(`${root}:job:${id}`)
      expect([follower.status, typeof follower.leader], `${id} among the followers`).toEqual([
        'queued',
        'string',
      ])
    }
  }

  for (const key of await keysOf(redis, `${root}:flight:*`)) {
    const id = (await redis.get(key))!
    const leader = await redis.hgetall(`${root}:job:${id}`)
    const leads = leader.status !== undefined && !terminal.includes(leader.status) && !leader.leader
    expect(leads || leader.carrying === '1', `${id} leads, but is ${leader.status}`).toBe(true)
  }
}

/** Every completed job has its answer, which is stored once, and is deleted with its last holder. */
async function checkAnswers(redis: TestStore['redis'], root: string, ids: string[]): Promise<void> {
  const holders = new Map<string, number>()
  for (const id of ids) {
    const { status, hash, answer, result } = await redis.hgetall(`${root}:job:${id}`)
    if (status !== 'completed') {
      expect([answer, result], `what ${id} has of an answer, which is ${status}`).toEqual([
        undefined,
        undefined,
      ])
      continue
    }
    if (result) continue
    const places = [`${root}:answer:${hash}`, `${root}:answer:${hash}:${answer}`]
    const found = []
    for (const key of places) if ((await redis.hget(key, 'by')) === answer) found.push(key)
    expect(found, `where the answer of ${id} rests`).toHaveLength(1)
    holders.set(found[0]!, (holders.get(found[0]!) ?? 0) + 1)
  }
  for (const key of await keysOf(redis, `${root}:answer:*`)) {
    expect(Number(await redis.hget(key, 'holders')), `jobs that have ${key}`).toBe(holders.get(key) ?? 0)
    const left = await redis.pttl(key)
    if (holders.has(key)) expect(left, `${key} goes before its jobs`).toBe(-1)
    else expect(left, `${key} has no end`).toBeGreaterThan(0)
  }
}

it('keeps records, indexes, groups, events, flights and queue in step, and loses no job, under any sequence of steps', async () => {
  const store = await openTestStore({ own: true })
  await fc.assert(
    fc.asyncProperty(steps, async (list) => {
      await store.redis.flushall()
      await store.maintenance.register([TENANT])
      const player = createPlayer(store)
      for (const step of list) {
        await player.play(step)
        await checkInvariants(store)
      }
      await player.finish()
      await checkInvariants(store)
      for (const status of ['queued', 'running']) {
        expect(await store.redis.zrange(`${store.root}:status:${status}`, '0', '-1'), status).toEqual([])
      }
      // Nothing is left except what the ended jobs keep.
      expect(await keysOf(store.redis, `${store.root}:f*:*`)).toEqual([])
      const scheduled = await store.redis.zrange(`${store.root}:status:scheduled`, '0', '-1')
      const places = await store.redis.zrange(`${store.root}:outbox`, '0', '-1')
      expect(places.map((place) => place.slice(0, place.lastIndexOf('-'))).sort()).toEqual(scheduled.sort())
    }),
    { numRuns: Number(process.env.SLUICE_PROPERTY_RUNS ?? 60), endOnFailure: false },
  )
}, 120_000)
