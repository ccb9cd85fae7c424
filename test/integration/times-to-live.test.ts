import { describe, expect, it } from 'vitest'
import type { BatchEnding } from '../../batches/batch.ts'
import { createBatchScripts } from '../../batches/scripts.ts'
import { createBatches } from '../../batches/store.ts'
import { createBatchWork } from '../../batches/work.ts'
import { runDigest } from '../../durable/keys.ts'
import { createDurableScripts } from '../../durable/scripts.ts'
import { createDurableRuns } from '../../durable/store.ts'
import { trimReferences } from '../../events/retention.ts'
import { FileStoreError, type ObjectStore } from '../../files/object-store.ts'
import { createFileStore } from '../../files/store.ts'
import { createFlowScripts } from '../../flows/scripts.ts'
import { createFlows } from '../../flows/store.ts'
import { createFlowWork, noChanges } from '../../flows/work.ts'
import { createBudgets } from '../../jobs/budget-usage.ts'
import { toWindows } from '../../jobs/budgets.ts'
import { tenantRoot } from '../../jobs/keys.ts'
import { createLeases, lockLease } from '../../jobs/leases.ts'
import { createProviderState } from '../../jobs/provider-state.ts'
import { createRedrive } from '../../jobs/redrive.ts'
import { createRedriveSchedule } from '../../jobs/redrive-schedule.ts'
import { ALONE, createScripts } from '../../jobs/scripts.ts'
import { createTenantStatsReader } from '../../jobs/tenant-stats.ts'
import { createIds, createJobIds } from '../../lib/job-id.ts'
import type { RedisClient } from '../../lib/redis.ts'
import { laneRoot } from '../../ratelimit/addresses.ts'
import { createGate } from '../../ratelimit/create-gate.ts'
import { createScheduleScripts } from '../../schedules/scripts.ts'
import { createSchedules } from '../../schedules/store.ts'
import { createWebhookStore } from '../../webhooks/store.ts'
import { testSealer } from '../helpers/encryption.ts'
import { keepMaintained } from '../helpers/maintainer.ts'
import { keysOf } from '../helpers/redis.ts'
import {
  complete,
  fail,
  failure,
  intent,
  jobError,
  LANE,
  loseLease,
  newJob,
  openTestStore,
  read,
  retryNow,
  submit,
  success,
  TENANT,
  until,
} from '../helpers/store.ts'

const SECOND = 1_000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR

const RETAIN = 7 * DAY + 11
const CACHE = 3 * HOUR + 7
const STALLED = 15 * SECOND

/**
 * Every kind of key, and the longest life of one that nobody touches. Null: it has no end of its own, and `end` says what
 * ends it. A key of no kind fails the tests: if you add one, say here how it ends, and show below when.
 */
const KINDS: [pattern: RegExp, mostMs: number | null, end?: string][] = [
  [/^(tenants|lanes|batch-tenants)$/, null, 'one of an installation'],
  [
    /^\{registry\}:(version|tenants|keys)$/,
    null,
    'deletion by an administrator; bounds in tenants/registry.ts',
  ],
  [/^\{registry\}:audit$/, null, 'holds 10,000 lines at the most'],
  [/^schedules$/, null, 'holds tenants with schedules'],
  [/^active-tenants$/, null, 'holds tenants of the last minute'],
  [/^T:scheduled-lanes$/, null, 'holds what is there'],
  [/^T:history$/, null, 'holds ended jobs until the history has them'],
  [/^T:history:blocks$/, null, 'one of a tenant'],
  [/^history-failure$/, 60 * SECOND],
  [/^T:(jobs|status:\w+|outbox|expiry|deadlines|draining|groups|webhooks)$/, null, 'hold what is there'],
  [/^T:(money:reserved|money:running|submissions|files:bytes)$/, null, 'one of a tenant'],
  [/^T:fair-keys:parked$/, null, 'one of a tenant'],
  [/^\{overview\}:(recent|hours)$/, 4 * HOUR],
  [/^T:paused$/, 3650 * DAY],
  [
    /^T:fair-key:[\w-]+(:.+)?$/,
    null,
    'the last open job of the key; a minute longer where it has a rate, below',
  ],
  [/^T:(files|files:expiry|files:unheld|batches|batches:active)$/, null, 'hold what is there'],
  [/^T:provider-state:[\w-]+$/, 30 * DAY],
  [/^T:files:(writing|deleting)$/, null, 'hold objects until they are deleted'],
  [/^provider-batch-lanes$/, null, 'holds lanes with provider batches'],
  [/^L:batches:(lines|since|leave|delayed|turns|open|waiting:[\w:]+)$/, null, 'hold what is there'],
  [/^L:batches:batch:pbatch_\w+$/, 7 * DAY, 'a batch that is not over has none'],
  [/^L:batches:batch:pbatch_\w+:lines$/, null, 'the end of the batch'],
  [/^L:batches:(ended|turnarounds)$/, 7 * DAY],
  [/^L:batches:hold$/, HOUR],
  [/^L:batches:lease$/, 15 * SECOND],
  [/^T:schedules(:due|:declared)?$/, null, 'hold what is there'],
  [/^T:schedule:sch_\w+(:runs)?$/, null, 'its deletion'],
  [/^T:schedule:sch_\w+:jobs$/, RETAIN, 'that of a schedule that is there has none'],
  [/^T:events(:deltas)?$/, null, 'one of a tenant; its entries are kept for a day, below'],
  [/^T:(flows|flows:due|flows:status:\w+)$/, null, 'hold what is there'],
  [/^T:flow:flow_\w+(:steps|:elements|:values|:ended|:events)?$/, null, 'its place in `flows:due`, below'],
  [/^T:job:flow_\w+:deliveries$/, null, 'its flow'],
  [/^T:job:job_\w+(:events|:attempts|:deliveries)?$/, null, 'its place in `expiry`, below'],
  [/^T:delivery:\w+$/, null, 'its job'],
  [/^T:webhooks:(failing|addresses|addresses:used)$/, 30 * DAY],
  [/^T:(flight|followers):\w+$/, null, 'the call'],
  [/^T:group:\w+(:jobs|:events)?$/, null, 'its last job'],
  [/^T:answer:\w+(:\w+)?$/, CACHE, 'those that a job has have none'],
  [/^T:(idempotency|batch-key|flow-key|schedule-key):\w+$/, DAY],
  [/^T:money:spent:\d+$/, 2 * DAY],
  [/^T:budget:[\w:-]+:\d+:\d+(:events)?$/, 72 * DAY],
  [/^T:fair-key-costs:\d+:\d+$/, 72 * DAY],
  [/^T:(group-budget:.+|group-budgets)$/, 400 * DAY],
  [/^T:output:.+$/, 7 * DAY],
  [/^T:booked:\w+$/, DAY],
  [/^T:suspect$/, 5 * SECOND],
  [/^T:redriving$/, MINUTE],
  [/^T:batch:batch_\w+$/, 30 * DAY, 'a batch that is not over has none'],
  [/^T:batch:batch_\w+:(layout|open|tallies)$/, null, 'the end of the batch'],
  [/^T:batch:batch_\w+:lease$/, 15 * SECOND],
  [/^T:file:file-\w+$/, null, 'its place in `files:expiry`'],
  [/^T:file:file-\w+:(\d+|sizes)$/, 7 * DAY, 'those of a file that does not expire have none'],
  [/^T:file:file-\w+:gone$/, HOUR],
  [/^file-link:\w+$/, HOUR],
  [/^T:durable:\w+(:values)?$/, null, 'its place in `expiry`, below'],
  [/^T:durable:\w+:making$/, 10 * SECOND],
  [/^T:durables(:created)?$/, null, 'holds what is there'],
  [/^G:concurrency$/, DAY, 'of lanes with `max_concurrency: auto`'],
  [/^G:(bucket|permits|records|ledger:window|ledger:day)$/, null, 'one of a lane'],
  // From its last use on; longer while a pause or a refusal lasts. Both may be renamed, and no event reports that.
  [/^G-(source|shared):\w+:(bucket|permits|records|ledger:window|ledger:day)$/, 25 * HOUR],
  [/^L:(bucket|permits|records|ledger:window|ledger:day)$/, 2 * HOUR, 'as an earlier release kept them'],
  [/^L:(fair|latencies)$/, null, 'one of a lane'],
  [/^L:key-turns:\w+:\w+$/, null, 'one of a lane'],
  [/^L:key-ends:\w+:\w+$/, DAY],
  [/^L:calls:(id|events|pc|marker|wait|active|prioritized|delayed|stalled)$/, null, 'one of a lane'],
  [/^L:calls:meta$/, null, 'one of a lane'],
  [/^L:calls:job_\w+-\d+$/, null, 'its acknowledgement'],
  [/^L:calls:job_\w+-\d+:lock$/, lockLease(STALLED)],
  [/^L:calls:stalled-check$/, STALLED],
  [/^\{maintainer\}:lease$/, 4 * SECOND],
  [/^prompt-prefix:[\w-]+$/, 5 * MINUTE],
]
/** Keys that may have no end of their own for a while. */
const MAY_HAVE_NONE =
  /^T:(answer:\w+(:\w+)?|batch:batch_\w+|schedule:sch_\w+:jobs|file:file-\w+:(\d+|sizes))$/

/** A store of objects that is unavailable for deletions. */
const neverRemoving: ObjectStore = {
  write: async () => {},
  read: async () => null,
  async *list() {},
  check: async () => {},
  async remove() {
    throw new FileStoreError('folder', 'away', 'it does not answer')
  },
}

type House = Awaited<ReturnType<typeof openHouse>>

async function openHouse() {
  const store = await openTestStore({ retainMs: RETAIN, cacheTtlMs: CACHE, stalledAfterMs: STALLED })
  const { redis, prefix, root } = store
  const rootOf = (tenant: string) => tenantRoot(prefix, tenant)
  const batchStore = { redis, scripts: createBatchScripts(redis), root: rootOf }
  const batches = createBatches({
    ...batchStore,
    newId: createIds('batch_', Date.now),
    wake: async () => {},
  })
  const files = createFileStore({
    redis,
    root: rootOf,
    newId: createIds('file-', Date.now),
    maxBytes: () => 1e9,
    sealer: testSealer(),
    objects: {
      current: null,
      stores: { folder: neverRemoving, s3: null },
      storeId: async () => 'store-1',
    },
  })

  const newJobId = createJobIds(Date.now)
  const durable = createDurableRuns({
    redis,
    scripts: createDurableScripts(redis),
    root: rootOf,
    sealer: testSealer(),
    listen: store.pubsub.listen,
    retainMs: () => RETAIN,
    now: Date.now,
  })

  /** Begins a job as a step of a run, as the API does. */
  async function beginJob(run: string, step: string) {
    const request = { kind: 'job', fingerprints: [step], jobId: newJobId() } as const
    const begun = await durable.begin(TENANT, run, step, request)
    if (!('step' in begun)) throw new Error(begun.kind)
    const id = begun.step.jobId!
    const place = { run: runDigest(run), id: run, step }
    return submit(store, { id, durable: place, cache: 'off' }, `${run} ${step}`)
  }

  const schedules = createSchedules({
    ...{ redis, prefix, root: rootOf },
    scripts: createScheduleScripts(redis),
    sealer: testSealer(),
    newId: createIds('sch_', Date.now),
    retainMs: () => RETAIN,
  })

  async function createSchedule(idempotencyKey: string | null = null, declared = false) {
    const timing = { cron: null, every: '1h', timeZone: 'UTC', startsAt: null, endsAt: null }
    const rules = { overlap: 'allow', catchUp: 'latest', maxRuns: null, paused: false, metadata: {} } as const
    const settings = { ...timing, ...rules, name: 'a', target: 'job' as const, create: { type: 'chat' } }
    const options = { next: { inMs: HOUR }, most: null, idempotencyKey, declared }
    const outcome = await schedules.create(TENANT, settings, options)
    if (!('schedule' in outcome)) throw new Error(outcome.kind)
    return outcome.schedule.id
  }

  async function createBatch(windowMs = DAY, key: string | null = null) {
    const batch = {
      endpoint: '/v1/embeddings',
      inputFileId: 'file-1',
      completionWindow: '24h',
      metadata: null,
      outputExpiresAfter: null,
    } as const
    const outcome = await batches.create(TENANT, { ...batch, windowMs }, key)
    if (outcome.kind === 'conflict') throw new Error('the key is taken')
    return outcome.batch
  }

  return {
    ...store,
    rootOf,
    onError(error: unknown) {
      throw error
    },
    durable,
    beginJob,
    batches,
    schedules,
    createSchedule,
    batchWork: createBatchWork(batchStore),
    createBatch,
    files,
    gate: createGate({ redis, prefix }),
    key: (name: string) => `${root}:${name}`,
    laneKey: (name: string) => `${prefix}:{l:${LANE}}:${name}`,
  }
}

/** A batch that a worker has, with something of everything that a batch has. */
async function holdBatch(house: House, windowMs?: number) {
  const { id } = await house.createBatch(windowMs)
  const held = (await house.batchWork.claim(TENANT, id, 'a-token'))!
  await house.batchWork.begin(held, {
    layout: [0],
    total: 1,
    model: null,
    outputId: 'file-out',
    errorId: 'file-err',
  })
  await house.batchWork.open(held, 0, [{ customId: 'one', job: 'job_1' }])
  return held
}

async function endBatch(house: House, ending: BatchEnding | 'completed'): Promise<string> {
  const held = await holdBatch(house, ending === 'expired' ? 1 : DAY)
  if (ending === 'cancelled') await house.batches.cancel(TENANT, held.id)
  else if (ending === 'expired') await until(() => house.batchWork.abort(held, ending, []))
  else if (ending === 'failed') await house.batchWork.abort(held, ending, [])
  await house.batchWork.finish(held, { outputFileId: null, errorFileId: null })
  expect(await house.batches.get(TENANT, held.id)).toMatchObject({ status: ending })
  for (const part of ['layout', 'open', 'tallies', 'lease']) {
    expect(await house.redis.exists(house.key(`batch:${held.id}:${part}`)), part).toBe(0)
  }
  return house.key(`batch:${held.id}`)
}

async function timeOf(redis: RedisClient): Promise<number> {
  const [seconds, micros] = await redis.time()
  return Number(seconds) * 1000 + Math.floor(Number(micros) / 1000)
}

async function expectKnownKeys({ redis, prefix, root }: House): Promise<void> {
  for (const key of await keysOf(redis, `${prefix}:*`)) {
    const name = key
      .replace(root, 'T')
      .replace(`${prefix}:{l:${LANE}}`, 'L')
      .replace(laneRoot(prefix, LANE), 'G:')
      .replace(/^[^{]*\{g:\w+\}:source:(\w+)\n\w+/, 'G-source:$1')
      .replace(/^[^{]*\{g:\w+\}:shared:/, 'G-shared:')
      .replace(`${prefix}:`, '')
    const kind = KINDS.find(([pattern]) => pattern.test(name))
    expect(kind, `${name} is of no kind that is known`).toBeDefined()
    const left = await redis.pttl(key)
    if (left === -2) continue // It has just expired.
    const mostMs = kind![1]
    if (mostMs === null) expect(left, `${name} is to have no end`).toBe(-1)
    else if (left !== -1 || !MAY_HAVE_NONE.test(name)) {
      expect(left, `${name} is to have an end`).toBeGreaterThan(0)
      expect(left, `${name} lives too long`).toBeLessThanOrEqual(mostMs)
    }
  }
}

/** Starts a job whose worker is lost so often. */
async function lose(house: House, times: number) {
  const first = await house.start()
  for (let time = 1; time < times; time++) {
    await loseLease(house, first.held)
    await house.work.start([{ ...first.held, token: `worker ${time}` }], intent)
  }
  return first
}

/** The retention of all that ended is over. */
async function retire(house: House): Promise<void> {
  for (const id of await house.redis.zrange(house.key('expiry'), '0', '-1')) {
    await house.redis.zadd(house.key('expiry'), 1, id)
  }
  expect(await house.retention.run()).toBeGreaterThan(0)
}

async function* inParts(...parts: (() => Promise<string>)[]) {
  for (const part of parts) yield Buffer.from(await part())
}

const onePart = (text = 'abc') => inParts(async () => text)
const file = { filename: 'a.jsonl', purpose: 'batch', expiresAt: null }

/** A key, and how long it lives from the transition that its row names; null: it has no end then. */
const KEYS: [transition: string, lifeMs: number | null, act: (house: House) => Promise<string>][] = [
  [
    'the key of a request: its job is made',
    DAY,
    async (house) => {
      await submit(house, { idempotencyKey: 'k' })
      return house.key('idempotency:k')
    },
  ],
  [
    'a kept answer: a job completes',
    null,
    async (house) => {
      await submit(house)
      const running = await house.start()
      await complete(house, running)
      return house.key(`answer:${running.claimed.hash}`)
    },
  ],
  [
    'a kept answer: the job that had it is forgotten',
    CACHE,
    async (house) => {
      await submit(house)
      const running = await house.start()
      await complete(house, running)
      await retire(house)
      return house.key(`answer:${running.claimed.hash}`)
    },
  ],
  [
    'a kept answer: it was put together from one that is kept for less',
    5 * SECOND,
    async (house) => {
      await submit(house)
      const { claimed } = await house.start()
      const one = { claimed, end: null, result: { a: 1 }, usage: null, costUsd: 0, leftMs: 5 * SECOND }
      await house.work.complete([one])
      await retire(house)
      return house.key(`answer:${claimed.hash}`)
    },
  ],
  [
    'a kept vector: the job that bought it completed',
    CACHE,
    async (house) => {
      await submit(house)
      const running = await house.start()
      await complete(house, running)
      const items = [{ hash: 'vector', result: { v: 1 }, usage: null }]
      await house.embeddingCache.set(TENANT, [{ id: running.claimed.id, items }])
      return house.key('answer:vector')
    },
  ],
  [
    'a prefix that a provider has in its prompt cache',
    5 * MINUTE,
    async (house) => {
      const turn = await house.prefixes.enter(LANE, 'prefix', new AbortController().signal)
      turn.answered()
      const [key] = await keysOf(house.redis, `${house.prefix}:prompt-prefix:*`)
      return key!
    },
  ],
  [
    'what a day cost: the first call of the day is paid',
    2 * DAY,
    async (house) => {
      await submit(house)
      await complete(house, await house.start())
      return house.key(`money:spent:${Math.floor((await timeOf(house.redis)) / DAY)}`)
    },
  ],
  [
    'the job that may be what takes workers down: it runs alone',
    5 * SECOND,
    async (house) => {
      await submit(house)
      await lose(house, 3)
      return house.key('suspect')
    },
  ],
  [
    'the turn of redrives: a worker takes it',
    30 * SECOND,
    async (house) => {
      const redrive = createRedrive({ ...house, retainMs: () => RETAIN, onAgain: null })
      const schedule = createRedriveSchedule({
        ...house,
        redrive,
        tenants: async () => [TENANT],
        activeTenants: null,
        policy: {
          rules: () => [{ errorCodes: ['broken'], lanes: null, afterMs: 5 * MINUTE, maxTimes: 1 }],
          roomOf: () => ({ maxQueued: 10, budgetUsdPerDay: null }),
          isServed: () => true,
          isWanted: () => true,
        },
        isMemoryShort: async () => false,
        now: Date.now,
        onRedriven() {},
        onFailure({ error }) {
          throw error
        },
      })
      await submit(house)
      await fail(house, await house.start())
      await schedule.run()
      return house.key('redriving')
    },
  ],
  [
    'the lock of an entry: a worker fetches it',
    lockLease(STALLED),
    async (house) => {
      await submit(house)
      const { bull } = await house.fetch()
      return house.laneKey(`calls:${bull!.id}:lock`)
    },
  ],
  [
    'the lock of an entry: its worker renews it',
    lockLease(STALLED) + 1,
    async (house) => {
      await submit(house)
      const { bull, token } = await house.fetch()
      const leases = createLeases({ ...house, lockMs: lockLease(STALLED) + 1, placeMs: 1 })
      expect(await leases.renewLocks(LANE, [{ entry: bull!.id!, token }])).toEqual([])
      return house.laneKey(`calls:${bull!.id}:lock`)
    },
  ],
  ['a schedule: it is made', null, async (house) => house.key(`schedule:${await house.createSchedule()}`)],
  [
    'a schedule: the configuration has it',
    null,
    async (house) => {
      await house.createSchedule(null, true)
      return house.key('schedules:declared')
    },
  ],
  [
    'the key of a schedule: the schedule is made',
    DAY,
    async (house) => {
      await house.createSchedule('k')
      return house.key('schedule-key:k')
    },
  ],
  [
    'the runs of a schedule: it has one',
    null,
    async (house) => {
      const id = await house.createSchedule()
      await house.schedules.note(TENANT, id, { scheduledFor: 1, made: (await submit(house)).id })
      return house.key(`schedule:${id}:runs`)
    },
  ],
  [
    'the jobs of a schedule: it is deleted',
    RETAIN,
    async (house) => {
      const id = await house.createSchedule()
      await house.schedules.note(TENANT, id, { scheduledFor: 1, made: (await submit(house)).id })
      await house.schedules.remove(TENANT, id)
      return house.key(`schedule:${id}:jobs`)
    },
  ],
  [
    'the key of a batch: the batch is made',
    DAY,
    async (house) => {
      await house.createBatch(DAY, 'k')
      return house.key('batch-key:k')
    },
  ],
  ['a batch: it is made', null, async (house) => house.key(`batch:${(await house.createBatch()).id}`)],
  ['a batch: its lines run', null, async (house) => house.key(`batch:${(await holdBatch(house)).id}`)],
  [
    'a batch: all is written',
    null,
    async (house) => {
      const held = await holdBatch(house)
      await house.batchWork.finalize(held)
      return house.key(`batch:${held.id}`)
    },
  ],
  ['a batch: it completes', 30 * DAY, (house) => endBatch(house, 'completed')],
  ['a batch: it fails', 30 * DAY, (house) => endBatch(house, 'failed')],
  ['a batch: it expires', 30 * DAY, (house) => endBatch(house, 'expired')],
  ['a batch: it is cancelled', 30 * DAY, (house) => endBatch(house, 'cancelled')],
  [
    'the lease of a batch: a worker takes it',
    15 * SECOND,
    async (house) => house.key(`batch:${(await holdBatch(house)).id}:lease`),
  ],
  [
    'the lease of a batch: its worker renews it',
    15 * SECOND,
    async (house) => {
      const held = await holdBatch(house)
      await house.redis.pexpire(house.key(`batch:${held.id}:lease`), 100)
      await house.batchWork.renew(held)
      return house.key(`batch:${held.id}:lease`)
    },
  ],
  ...['0', 'sizes'].flatMap((part): typeof KEYS => [
    [
      `${part} of a file: written by itself`,
      7 * DAY,
      async (house) => {
        await house.files.writePart(TENANT, 'file-1', 0, Buffer.from('abc'))
        return house.key(`file:file-1:${part}`)
      },
    ],
    [
      `${part} of a file: sealed for good`,
      null,
      async (house) => {
        await house.files.writePart(TENANT, 'file-1', 0, Buffer.from('abc'))
        await house.files.seal(TENANT, 'file-1', file, 1)
        return house.key(`file:file-1:${part}`)
      },
    ],
    [
      `${part} of a file: uploaded for two hours`,
      3 * HOUR,
      async (house) => {
        const { id } = await house.files.create(
          TENANT,
          (createdAt) => ({ ...file, expiresAt: createdAt + 2 * HOUR }),
          onePart(),
        )
        return house.key(`file:${id}:${part}`)
      },
    ],
    [
      `${part} of a file: its upload broke off, and nobody could remove it`,
      HOUR,
      async (house) => {
        const cut = async (): Promise<string> => {
          // The first part is stored. Under another name nobody finds it to remove it.
          await until(async () => (await keysOf(house.redis, house.key('file:*:0'))).length > 0)
          const [first] = await keysOf(house.redis, house.key('file:*:0'))
          for (const name of ['0', 'sizes']) {
            await house.redis.rename(first!.replace(/0$/, name), house.key(`file:file-kept:${name}`))
          }
          throw new Error('broke off')
        }
        const upload = house.files.create(
          TENANT,
          file,
          inParts(async () => 'x'.repeat(1024 * 1024), cut),
        )
        await expect(upload).rejects.toThrow('broke off')
        return house.key(`file:file-kept:${part}`)
      },
    ],
  ]),
  [
    'what a provider keeps for a tenant: it was used just now',
    30 * DAY,
    async (house) => {
      const state = createProviderState({ redis: house.redis, root: () => house.root })
      await state.remember(TENANT, 'conv_1', 'openai')
      await house.redis.pexpire(house.key('provider-state:conv_1'), 1000)
      await state.find(TENANT, 'conv_1')
      return house.key('provider-state:conv_1')
    },
  ],
  [
    'the objects that are to be deleted: their store is away',
    null,
    async (house) => {
      await house.redis.zadd(house.key('files:writing'), 0, 'folder:file-1.abc')
      await expect(house.files.sweep(TENANT)).rejects.toThrow('does not answer')
      return house.key('files:deleting')
    },
  ],
  [
    'the place of a file in lists: it is removed',
    HOUR,
    async (house) => {
      const { id } = await house.files.create(TENANT, file, onePart())
      await house.files.remove(TENANT, id)
      return house.key(`file:${id}:gone`)
    },
  ],
]

describe('the time to live of', () => {
  it.each(KEYS)('%s', async (_, lifeMs, act) => {
    const house = await openHouse()
    const before = await timeOf(house.redis)
    const key = await act(house)
    const after = await timeOf(house.redis)
    expect(await house.redis.exists(key)).toBe(1)
    const end = await house.redis.pexpiretime(key)
    if (lifeMs === null) expect(end).toBe(-1)
    else {
      expect(end - lifeMs).toBeGreaterThanOrEqual(before)
      expect(end - lifeMs).toBeLessThanOrEqual(after)
    }
    await expectKnownKeys(house)
  })

  it('a key does not change when it is used again', async () => {
    const house = await openHouse()
    await submit(house, { idempotencyKey: 'k' })
    await complete(house, await house.start())
    const batch = await house.createBatch(DAY, 'k')
    const today = `money:spent:${Math.floor((await timeOf(house.redis)) / DAY)}`
    const keys = ['idempotency:k', 'batch-key:k', today].map(house.key)
    const ends = await Promise.all(keys.map((key) => house.redis.pexpiretime(key)))
    const past = await timeOf(house.redis)
    await until(async () => (await timeOf(house.redis)) > past + 1)
    await submit(house, { idempotencyKey: 'k' })
    expect((await house.createBatch(DAY, 'k')).id).toBe(batch.id)
    await submit(house, {}, 'another')
    await complete(house, await house.start())
    expect(await Promise.all(keys.map((key) => house.redis.pexpiretime(key)))).toEqual(ends)
  })
})

type Members = Parameters<typeof submit>[1]

/** Ways in which a job ends; each answers its id. */
const ENDS: [transition: string, status: string, act: (house: House) => Promise<string>][] = [
  [
    'completes',
    'completed',
    async (house) => {
      const { id } = await submit(house, {
        webhook: { url: 'https://a.example/', events: ['job.completed'] },
      })
      await complete(house, await house.start())
      return id
    },
  ],
  [
    'fails',
    'failed',
    async (house) => {
      const { id } = await submit(house, { group: 'g' })
      await fail(house, await house.start())
      return id
    },
  ],
  [
    'is answered from what is kept when it is made',
    'completed',
    async (house) => {
      await submit(house)
      await complete(house, await house.start())
      return (await submit(house)).id
    },
  ],
  [
    'is answered from what is kept when it is due',
    'completed',
    async (house) => {
      await submit(house)
      const first = await house.start()
      const { id } = await submit(house, { delayMs: 50 })
      await complete(house, first)
      keepMaintained(house)
      await house.work.start([await house.fetch()], intent)
      return id
    },
  ],
  [
    'is ended by the call of another',
    'completed',
    async (house) => {
      await submit(house)
      const { id } = await submit(house)
      await complete(house, await house.start())
      return id
    },
  ],
  [
    'is cancelled while it waits',
    'cancelled',
    async (house) => {
      const { id } = await submit(house)
      await house.jobs.cancel(TENANT, id)
      return id
    },
  ],
  [
    'is cancelled in mid-call',
    'cancelled',
    async (house) => {
      const { id } = await submit(house)
      await house.start()
      await house.jobs.cancel(TENANT, id)
      return id
    },
  ],
  [
    'is cancelled while its call goes on for another',
    'cancelled',
    async (house) => {
      const { id } = await submit(house)
      await submit(house)
      await house.start()
      await house.jobs.cancel(TENANT, id)
      return id
    },
  ],
  [
    'misses its deadline, as a sweeper finds',
    'failed',
    async (house) => {
      const { id } = await submit(house, { deadline: (await timeOf(house.redis)) + 20 })
      await until(async () => {
        await house.maintenance.sweep()
        return (await read(house, id)).status === 'failed'
      })
      return id
    },
  ],
  [
    'misses its deadline, as its worker finds',
    'failed',
    async (house) => {
      const deadline = (await timeOf(house.redis)) + 20
      const { id } = await submit(house, { deadline })
      const held = await house.fetch()
      await until(async () => (await timeOf(house.redis)) > deadline)
      await house.work.start([held], intent)
      return id
    },
  ],
  [
    'takes three workers down',
    'failed',
    async (house) => {
      const { id } = await submit(house)
      await lose(house, 4)
      return id
    },
  ],
]

describe('the retention of a job that', () => {
  const placeOf = async ({ redis, root }: House, id: string) => redis.zscore(`${root}:expiry`, id)

  it.each(ENDS)('%s begins then', async (_, status, act) => {
    const house = await openHouse()
    const before = await timeOf(house.redis)
    const id = await act(house)
    const job = await read(house, id)
    expect(job.status).toBe(status)
    const finishedAt = Date.parse(job.finished_at!)
    expect(finishedAt).toBeGreaterThanOrEqual(before)
    expect(Number(await placeOf(house, id))).toBe(finishedAt + RETAIN)
    await expectKnownKeys(house)
  })

  const open: [string, Members, (house: House, id: string) => Promise<unknown>][] = [
    ['waits', {}, async () => {}],
    ['is for later', { delayMs: HOUR }, async () => {}],
    ['runs', {}, (house) => house.start()],
    [
      'waits for its next attempt',
      {},
      async (house) => house.work.requeue((await house.start()).claimed, failure, retryNow),
    ],
    [
      'is queued again',
      {},
      async (house, id) => {
        await house.jobs.cancel(TENANT, id)
        await house.jobs.retry(TENANT, id)
      },
    ],
  ]
  it.each(open)('%s has not begun', async (_, members, act) => {
    const house = await openHouse()
    const { id } = await submit(house, members)
    await act(house, id)
    expect(await placeOf(house, id)).toBeNull()
    await expectKnownKeys(house)
  })

  it('is over deletes everything of the job, its group and its deliveries too', async () => {
    const house = await openHouse()
    const events = ['job.failed' as const]
    const { id } = await submit(house, { group: 'g', webhook: { url: 'https://a.example/', events } })
    const { held, claimed } = await house.start()
    await house.work.fail(claimed, failure, jobError, false)
    await house.lane().acknowledge(held)
    const own = async () => {
      const names = (await keysOf(house.redis, `${house.root}:*`)).map((key) =>
        key.slice(house.root.length + 1),
      )
      return names.filter((name) => /^(job|delivery|group|flight|followers):/.test(name)).sort()
    }
    expect(await own()).toEqual([
      expect.stringMatching(/^delivery:/),
      'group:g',
      'group:g:events',
      'group:g:jobs',
      `job:${id}`,
      `job:${id}:attempts`,
      `job:${id}:deliveries`,
      `job:${id}:events`,
    ])
    await house.redis.zadd(`${house.root}:expiry`, 'XX', 1, id)
    expect(await house.retention.run()).toBe(1)
    expect(await own()).toEqual([])
    for (const index of ['jobs', 'status:failed', 'expiry', 'groups', 'webhooks', 'outbox', 'deadlines']) {
      expect(await house.redis.zcard(`${house.root}:${index}`), index).toBe(0)
    }
  })
})

describe('a durable run', () => {
  const RUN = 'report'
  const placeOf = async ({ redis, root }: House) => {
    const [place, other] = await Promise.all([
      redis.zscore(`${root}:expiry`, `durable:${runDigest(RUN)}`),
      redis.zscore(`${root}:durables`, runDigest(RUN)),
    ])
    expect(other).toBe(place)
    return place === null ? null : Number(place)
  }
  /** As if its retention had passed. */
  const outlive = ({ redis, root }: House) =>
    Promise.all([
      redis.zadd(`${root}:expiry`, 'XX', 1, `durable:${runDigest(RUN)}`),
      redis.zadd(`${root}:durables`, 'XX', 1, runDigest(RUN)),
    ])
  const outliveJob = ({ redis, root }: House, id: string) => redis.zadd(`${root}:expiry`, 'XX', 2, id)

  const touches: [transition: string, laterMs: number, act: (house: House) => Promise<unknown>][] = [
    ['a job of it is begun', 0, (house) => house.beginJob(RUN, 'one')],
    ['a step of it is asked for', 0, (house) => house.durable.find(TENANT, RUN, 'nap')],
    [
      'a sleep of it is over',
      HOUR,
      (house) => house.durable.begin(TENANT, RUN, 'long', { kind: 'sleep', ms: HOUR }),
    ],
    [
      'a wait of it is given up',
      HOUR,
      (house) => house.durable.begin(TENANT, RUN, 'wait', { kind: 'signal', timeoutMs: HOUR }),
    ],
    ['a signal of it comes', 0, (house) => house.durable.signal(TENANT, RUN, 'wait', { ok: true }, null)],
  ]
  it.each(touches)('is kept for as long as jobs are after %s', async (_, laterMs, act) => {
    const house = await openHouse()
    await house.durable.begin(TENANT, RUN, 'nap', { kind: 'sleep', ms: 0 })
    await outlive(house)
    const before = await timeOf(house.redis)
    await act(house)
    const place = (await placeOf(house))!
    expect(place - RETAIN - laterMs).toBeGreaterThanOrEqual(before)
    expect(place - RETAIN - laterMs).toBeLessThanOrEqual(await timeOf(house.redis))
    await expectKnownKeys(house)
  })

  it('keeps its jobs, though their own time is over, and goes with them when it is over itself', async () => {
    const house = await openHouse()
    const { id } = await house.beginJob(RUN, 'one')
    await house.durable.signal(TENANT, RUN, 'approve', 'yes', null)
    await complete(house, await house.start())
    await outliveJob(house, id)
    await house.retention.run()
    expect((await read(house, id)).result).toEqual({ answer: 'hi' })
    expect(await house.durable.find(TENANT, RUN, 'one')).toMatchObject({ jobId: id })

    await outliveJob(house, id)
    await outlive(house)
    await until(async () => {
      await house.retention.run()
      return (await house.jobs.get(TENANT, id)) === null
    })
    expect(await keysOf(house.redis, `${house.root}:durable*`)).toEqual([])
    expect(await house.redis.zcard(`${house.root}:expiry`)).toBe(0)
    expect(await house.durable.find(TENANT, RUN, 'one')).toBeNull()
  })

  it('waits for its jobs: for open ones, and for those that ended after its last request', async () => {
    const house = await openHouse()
    const { id } = await house.beginJob(RUN, 'one')
    await outlive(house)
    await house.retention.run()
    expect(await placeOf(house)).toBeGreaterThan(await timeOf(house.redis))
    expect(await house.durable.find(TENANT, RUN, 'one')).toMatchObject({ jobId: id })

    await complete(house, await house.start())
    await outlive(house)
    await house.retention.run()
    const ended = Date.parse((await read(house, id)).finished_at!)
    expect(await placeOf(house)).toBe(ended + RETAIN)
  })

  it('of many steps is checked a part at a time, from the beginning if it was requested in between', async () => {
    const house = await openHouse()
    const most = 1_300
    const { id } = await house.beginJob(RUN, 'one')
    for (let step = 1; step < most; step++) {
      await house.durable.begin(TENANT, RUN, `nap ${step}`, { kind: 'sleep', ms: 0 })
    }
    await complete(house, await house.start())
    await outliveJob(house, id)
    await outlive(house)
    const looked = () => house.redis.hget(house.key(`durable:${runDigest(RUN)}`), 'looked')
    await until(async () => {
      await house.retention.run()
      return (await looked()) !== null
    })
    await house.durable.find(TENANT, RUN, 'one')
    await house.retention.run()
    expect(await placeOf(house)).toBeGreaterThan(await timeOf(house.redis))
    await outliveJob(house, id)
    await outlive(house)
    await until(async () => {
      await house.retention.run()
      return (await placeOf(house)) === null
    })
    expect(await keysOf(house.redis, `${house.root}:durable*`)).toEqual([])
  })

  it('loses the step whose job is deleted, and is not counted as a job of its tenant', async () => {
    const house = await openHouse()
    const { id } = await house.beginJob(RUN, 'one')
    await house.durable.begin(TENANT, RUN, 'nap', { kind: 'sleep', ms: 0 })
    await house.jobs.remove(TENANT, id)
    expect(await house.durable.get(TENANT, RUN)).toMatchObject({ steps: [{ name: 'nap' }] })
    expect((await house.beginJob(RUN, 'one')).id).not.toBe(id)
    const stats = createTenantStatsReader({ ...house, retainMs: () => RETAIN })
    expect(await stats.read([TENANT])).toMatchObject([{ finishedPerMinute: 0 }])
  })
})

describe('a flow', () => {
  it('is kept for as long as jobs are, from its end, with its jobs, and leaves nothing', async () => {
    const house = await openHouse()
    const { redis, key } = house
    const scripts = createFlowScripts(redis, () => 'nothing')
    const flows = createFlows({
      ...{
        redis,
        scripts,
        prefix: house.prefix,
        atRest: house.atRest,
        jobs: house.jobs,
        pubsub: house.pubsub,
      },
      deliveries: async () => [],
      newId: createIds('flow_', Date.now),
      retainMs: () => RETAIN,
    })
    const work = createFlowWork({ scripts, prefix: house.prefix, retainMs: () => RETAIN })
    const outcome = await flows.create({
      tenant: TENANT,
      definition: { name: 'kept', steps: { wait: { wait_for_signal: {} } } },
      budgetUsd: 1,
      budgets: [],
      deadline: null,
      webhook: { url: 'https://a.example/', events: ['flow.completed'] },
      group: null,
      metadata: { a: 'b' },
      idempotencyKey: 'k',
      fingerprint: 'f',
      mostOpen: 10,
    })
    const id = 'id' in outcome ? outcome.id : ''
    await flows.signal(TENANT, id, 'wait', 1)
    const flow = { id, step: 0, name: 'wait', element: 0, attempt: 1 }
    const job = await submit(house, { flow })
    await complete(house, await house.start())
    const [claimed] = (await work.claim(TENANT, 10)).flows
    expect(claimed!.endings).toEqual([expect.stringMatching(/^0 0 1 completed \d+ /)])
    await expectKnownKeys(house)
    const changes = { ...noChanges(), status: 'completed' as const, counted: 1 }
    changes.steps.set(0, '{"p":"completed"}')
    changes.elements.set('0:1', '1 failed')
    const before = await timeOf(redis)
    expect(await work.advance(claimed!, changes)).toBe(true)
    await expectKnownKeys(house)
    const end = Number(await redis.zscore(key('flows:due'), id))
    expect(end - RETAIN).toBeGreaterThanOrEqual(before)
    expect(end - RETAIN).toBeLessThanOrEqual(await timeOf(redis))
    // Its job stays for as long, even after its own time; it is checked every hour.
    await redis.zadd(key('expiry'), 'XX', 1, job.id)
    await house.retention.run()
    expect(Number(await redis.zscore(key('expiry'), job.id)) - HOUR).toBeGreaterThanOrEqual(before)
    expect(await work.forget(TENANT, id)).toBe(false)
    await redis.hset(key(`flow:${id}`), 'expires_at', 1)
    expect(await work.forget(TENANT, id)).toBe(true)
    await redis.zadd(key('expiry'), 'XX', 1, job.id)
    await house.retention.run()
    const left = (await keysOf(redis, `${house.root}:*`)).filter((name) => name.includes('flow'))
    expect(left).toEqual([key('flow-key:k')])
  })
})

describe('what is held for a while', () => {
  it('is a reference to an event for a day and no longer, except for the newest', async () => {
    const house = await openHouse()
    const streams = ['events', 'events:deltas'].map(house.key)
    const now = await timeOf(house.redis)
    const times = [2 * DAY, DAY + SECOND, DAY - SECOND].map((age) => `${now - age}-0`)
    for (const key of streams) {
      for (const id of times) await house.redis.xadd(key, id, 'job_1', '1 job.queued')
    }
    const kept = async () =>
      Promise.all(streams.map(async (key) => (await house.redis.xrange(key, '-', '+')).map(([id]) => id)))
    await trimReferences({ redis: house.redis, now: () => now }, house.root)
    expect(await kept()).toEqual([times.slice(2), times.slice(2)])
    await trimReferences({ redis: house.redis, now: () => now + DAY }, house.root)
    expect(await kept()).toEqual([times.slice(2), times.slice(2)])
    await submit(house)
    await trimReferences({ redis: house.redis, now: () => now + DAY - MINUTE }, house.root)
    expect((await kept())[0]).toEqual([expect.not.stringMatching(times[2]!)])
    await expectKnownKeys(house)
  })

  it('is a permit for 30 s, from its grant and from each renewal', async () => {
    const house = await openHouse()
    const lane = { id: LANE, limits: { window: MINUTE, headroom: 1, max_concurrency: 2 } } as never
    const cost = { requests: 1, tokens: 1, inputTokens: 1, outputTokens: 0 }
    const expectLease = async (act: () => Promise<string>) => {
      const before = await timeOf(house.redis)
      const permit = await act()
      const score = Number(await house.redis.zscore(`${laneRoot(house.prefix, LANE)}permits`, permit))
      expect(score - 30 * SECOND).toBeGreaterThanOrEqual(before)
      expect(score - 30 * SECOND).toBeLessThanOrEqual((await timeOf(house.redis)) + 1)
      return permit
    }
    const permit = await expectLease(async () => (await house.gate.take(lane, [{ cost }])).permits[0]!)
    await expectLease(async () => {
      await house.gate.renew(lane, [permit])
      return permit
    })
    await expectKnownKeys(house)
  })

  it('is the state of a source or a shared limit that is not configured any more, for a day after its last use', async () => {
    const house = await openHouse()
    let now = await timeOf(house.redis)
    // A slice of its ledgers closes between any two calls.
    const gate = createGate({ redis: house.redis, prefix: house.prefix, now: () => (now += 3 * MINUTE) })
    const limits = { window: 30 * MINUTE, headroom: 1, requests_per_minute: 6000, requests_per_day: 1000 }
    const source = (name: string) => ({ name, limits, weight: 1, model: 'chat', mark: '1' })
    const lane = (sources: string[], shared: string[]) =>
      ({
        ...{ id: LANE, limits, sources: sources.map(source) },
        shared: shared.map((name) => ({ name, limits })),
      }) as never
    const both = lane(['east', 'west'], ['family'])
    const cost = { requests: 1, tokens: 1, inputTokens: 1, outputTokens: 0 }
    const [permit] = (await gate.take(both, [{ cost }])).permits
    await gate.renew(both, [permit!])
    await gate.take(both, [{ cost }])
    await gate.pause(both, HOUR, 'by hand')
    await gate.resume(both)
    const sourcesOf = async () =>
      (await keysOf(house.redis, `${house.prefix}:*`)).filter((key) => /:(source|shared):/.test(key)).sort()
    expect((await sourcesOf()).length).toBeGreaterThan(8)
    await expectKnownKeys(house)

    // The configuration names neither any more: the call settles, the lane is read and used, and nothing gives them more time.
    const before = await Promise.all(
      (await sourcesOf()).map(async (key) => [key, await house.redis.pexpiretime(key)]),
    )
    const left = lane(['north'], [])
    await gate.settle(left, [{ permit: permit!, actual: cost, outcome: 'ok' }])
    await gate.take(left, [{ cost }])
    await gate.read(left)
    for (const [key, at] of before) expect(await house.redis.pexpiretime(key as string)).toBe(at)
    await expectKnownKeys(house)
  })

  it('is a webhook delivery for as long as its sender asks', async () => {
    const house = await openHouse()
    await submit(house, { webhook: { url: 'https://a.example/', events: ['job.completed'] } })
    await complete(house, await house.start())
    const webhooks = createWebhookStore({ redis: house.redis, root: house.rootOf })
    const before = await timeOf(house.redis)
    const ask = { limit: 1, leaseMs: MINUTE, offset: 0, perHost: 8, inHand: new Map() }
    const { claimed } = await webhooks.claimDue(TENANT, ask)
    const due = Number(await house.redis.zscore(house.key('webhooks'), claimed[0]!.id))
    expect(due - MINUTE).toBeGreaterThanOrEqual(before)
    expect(due - MINUTE).toBeLessThanOrEqual(await timeOf(house.redis))
    await webhooks.recordAttempt(
      claimed[0]!,
      { at: new Date(before).toISOString(), status: 500, error: null, latency_ms: 1 },
      { status: 'pending', delayMs: 10 * MINUTE },
    )
    const next = Number(await house.redis.zscore(house.key('webhooks'), claimed[0]!.id))
    expect(next - 10 * MINUTE).toBeGreaterThanOrEqual(before)
    expect(next - 10 * MINUTE).toBeLessThanOrEqual(await timeOf(house.redis))
    await expectKnownKeys(house)
  })
})

it('a fair key with limits is deleted with its last open job, or when its minute is full again', async () => {
  const house = await openHouse()
  const keys = async () =>
    (await keysOf(house.redis, `${house.prefix}:*`)).filter((key) => key.includes(':fair-key:'))
  for (const requestsPerMinute of [null, 60]) {
    const perFairKey = { maxRunning: 1, maxQueued: 9, requestsPerMinute }
    const limits = { maxQueued: 10, requestsPerMinute: null, budgetUsdPerDay: null, perFairKey }
    for (const text of ['one', 'two']) {
      await house.jobs.create(
        newJob({ limits, fairKey: `ann ${requestsPerMinute}` }, `${text} ${requestsPerMinute}`),
      )
    }
    expect(await keys()).toHaveLength(2)
    await expectKnownKeys(house)
    for (let at = 0; at < 2; at++) {
      const work = house.openWork({ fairKeyLimitsOf: () => perFairKey })
      const [started] = await work.start([await house.fetch()], intent)
      if (started?.kind !== 'run') throw new Error(started?.kind)
      await work.complete([{ claimed: started.claimed, end: success, result: {}, usage: null, costUsd: 0 }])
    }
    const left = await keys()
    expect(left).toHaveLength(requestsPerMinute === null ? 0 : 1)
    for (const key of left) expect(await house.redis.pttl(key)).toBeGreaterThan(MINUTE - 5 * SECOND)
  }
})

it('budgets of groups, and the spending of fair keys, expire by themselves', async () => {
  const house = await openHouse()
  const { redis, atRest } = house
  const budgets = createBudgets({
    ...{ redis, atRest, scripts: createScripts(redis, ALONE), now: Date.now },
    rootOf: (tenant) => tenantRoot(house.prefix, tenant),
  })
  await budgets.setOfGroup(TENANT, 'g', [{ usd: 1, per: 'day', time_zone: 'UTC' }])
  const own = toWindows(
    { owner: 'fair_key', name: 'a-digest' },
    [{ usd: 1, per: 'month', time_zone: 'UTC' }],
    Date.now(),
  )
  const limits = { maxQueued: 10, requestsPerMinute: null, budgetUsdPerDay: null, budgets: own }
  await house.jobs.create(newJob({ limits, estimateUsd: 0.1, group: 'g' }))
  const { claimed } = await house.start()
  await house.work.complete([{ claimed, end: success, result: { a: 1 }, usage: null, costUsd: 0.1 }])
  const keys = await keysOf(redis, `${house.prefix}:*`)
  const named = (name: string) => keys.filter((key) => key.includes(`:${name}`))
  expect(named('fair-key-costs:')).toHaveLength(1)
  expect(named('group-budget')).toHaveLength(2)
  await expectKnownKeys(house)
})

it('a tenant without recent jobs has a bucket of submissions, and no more', async () => {
  const house = await openHouse()
  const limits = { maxQueued: 10, requestsPerMinute: 60, budgetUsdPerDay: 5 }
  const outcome = await house.jobs.create(newJob({ limits, estimateUsd: 0.1 }))
  if (outcome.kind !== 'created') throw new Error(outcome.kind)
  const { claimed } = await house.start()
  await house.work.complete([{ claimed, end: success, result: { a: 1 }, usage: null, costUsd: 0.1 }])
  await expectKnownKeys(house)
})
