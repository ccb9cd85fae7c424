import fc from 'fast-check'
import { afterAll, describe, expect, it, onTestFinished } from 'vitest'
import type { Priority } from '../../jobs/job.ts'
import { createQueues } from '../../jobs/queue.ts'
import type { Order } from '../../jobs/queue-entry.ts'
import { closeRedis, createRedis } from '../../lib/redis.ts'
import { createFairness } from '../../ratelimit/create-fairness.ts'
import { createGate } from '../../ratelimit/create-gate.ts'
import {
  BAND_SECONDS,
  type Band,
  type FairState,
  priorityOf,
  serveTagged,
  type Tagged,
  tagEntries,
} from '../../ratelimit/fairness.ts'
import { createForecaster } from '../../ratelimit/forecaster.ts'
import { testRedis } from '../helpers/redis.ts'
import { seed } from '../helpers/seed.ts'
import { until } from '../helpers/store.ts'
import { createSimulatedLane } from './fairness-lane.ts'
import { laneWith } from './ratelimit-subjects.ts'

const place = testRedis()
const { prefix } = place
const redis = createRedis({ ...place, role: 'commands', name: 'test-fairness' })
afterAll(() => closeRedis(redis))
const fairness = createFairness({ redis, prefix })

async function tagStarts(...args: Parameters<typeof fairness.tag>): Promise<number[]> {
  return (await fairness.tag(...args)).map(({ start }) => start)
}

let lanes = 0
/** A lane of the test's own, and the keys that hold its entries. */
function newLane() {
  const id = `test/${++lanes}`
  const key = (name: string) => `${prefix}:{l:${id}}:${name}`
  return { id, held: { sets: [key('set'), key('later')], lists: [key('list'), key('active')] } }
}

const anyTenant = fc.constantFrom('a', 'b', 'c-1', 'with.dot')
const anyBand = fc.constantFrom(...(Object.keys(BAND_SECONDS) as Band[]))
const anyEntry: fc.Arbitrary<Tagged> = fc.record({
  tenant: anyTenant,
  band: anyBand,
  seconds: fc.double({ min: 1e-5, max: 4000, noNaN: true }),
  weight: fc.double({ min: 0.001, max: 1000, noNaN: true }),
})

describe('the script that assigns tags', () => {
  it('assigns those of its twin, for any sequence of entries and service', async () => {
    const steps = fc.array(
      fc.oneof(
        { weight: 4, arbitrary: fc.array(anyEntry, { minLength: 1, maxLength: 20 }) },
        { weight: 2, arbitrary: fc.constant('serve' as const) },
        { weight: 1, arbitrary: fc.constantFrom('drain' as const, 'serve again' as const) },
      ),
      { maxLength: 25 },
    )
    await fc.assert(
      fc.asyncProperty(steps, fc.nat(3), async (script, place) => {
        const { id, held } = newLane()
        const key = [...held.sets, ...held.lists][place]!
        let state: FairState = { v: 0, ends: new Map() }
        const tags: number[] = []
        let holds = false
        for (const step of script) {
          if (step === 'drain') {
            await redis.del(key)
            holds = false
          } else if (step === 'serve' || step === 'serve again') {
            const start = tags.at(step === 'serve' ? Math.floor(tags.length / 2) : 0)
            if (start === undefined) continue
            await fairness.serve(id, { start, seconds: 1, waiting: held.sets[0]!, isResumed: false })
            serveTagged(state, start)
          } else {
            if (!holds) state = { v: 0, ends: new Map() }
            const starts = await tagStarts(id, step, held)
            expect(starts).toEqual(tagEntries(state, step))
            tags.push(...starts)
            if (place < 2) await redis.zadd(key, 1, 'entry')
            else await redis.lpush(key, 'entry')
            holds = true
          }
          const { v, ends } = await fairness.read(id)
          expect({ v, ends }).toEqual(state)
        }
      }),
      { seed, numRuns: 60 },
    )
  })

  it('starts over once nothing of the lane is left', async () => {
    const { id, held } = newLane()
    const entry: Tagged = { tenant: 'a', band: 'normal', seconds: 10, weight: 1 }
    for (const key of [...held.sets, ...held.lists]) {
      await redis.del(...held.sets, ...held.lists)
      expect(await tagStarts(id, [entry], held)).toEqual([0])
      if (held.sets.includes(key)) await redis.zadd(key, 1, 'entry')
      else await redis.lpush(key, 'entry')
      expect(await tagStarts(id, [entry], held)).toEqual([10])
    }
  })

  it('keeps tags exact over a flood of hundreds of thousands', async () => {
    const { id, held } = newLane()
    await redis.zadd(held.sets[0]!, 1, 'entry')
    const state: FairState = { v: 0, ends: new Map() }
    const flood: Tagged[] = Array.from({ length: 1000 }, () => ({
      tenant: 'a',
      band: 'low',
      seconds: 0.1,
      weight: 3,
    }))
    for (let batch = 0; batch < 300; batch++) {
      expect((await tagStarts(id, flood, held)).at(-1)).toBe(tagEntries(state, flood).at(-1))
    }
  })
})

describe('the queue', () => {
  it('serves in the order of the twin, with any events in between', async () => {
    const connection = createRedis({ ...place, role: 'bullmq', name: 'test-fairness-queue' })
    onTestFinished(() => closeRedis(connection))
    const moved: Promise<void>[] = []
    const weights: Record<string, number> = { a: 1, b: 3, c: 0.5 }
    const cost = { inputTokens: 0, outputTokens: 0, inputs: 1, coalesceKey: null }
    const order: Order = {
      async place(lane, entries, held) {
        const tagged = entries.map(({ tenant, priority, cost: { tokens } }) => ({
          tenant,
          band: priority,
          seconds: tokens / 1000,
          weight: weights[tenant]!,
        }))
        const starts = await tagStarts(lane, tagged, held)
        return starts.map((start, index) => ({
          start,
          seconds: tagged[index]!.seconds,
          priority: priorityOf(start, tagged[index]!.band),
        }))
      },
      served(...args) {
        moved.push(fairness.serve(...args))
      },
    }
    const queues = createQueues({ connection, prefix, stalledAfterMs: 15_000, order })

    const anyJob = fc.record({
      tenant: fc.constantFrom('a', 'b', 'c'),
      priority: fc.constantFrom<Priority[]>('high', 'normal', 'low'),
      milliseconds: fc.oneof(fc.integer({ min: 10, max: 400 }), fc.integer({ min: 10_000, max: 900_000 })),
    })
    const steps = fc.array(
      fc.oneof(fc.array(anyJob, { minLength: 1, maxLength: 12 }), fc.integer({ min: 1, max: 8 })),
      {
        maxLength: 12,
      },
    )
    await fc.assert(
      fc.asyncProperty(steps, async (script) => {
        const { id: lane } = newLane()
        const twin = createSimulatedLane()
        const queue = queues.consume(lane, { onStalled() {}, onError() {} })
        const names = new Map<number, string>()
        try {
          // One entry stays in hand all the time, so that the lane never starts over.
          const [first] = [{ tenant: 'a', priority: 'high' as const, milliseconds: 10 }]
          for (const step of [[first], 1, ...script, 1000] as const) {
            if (typeof step === 'number') {
              for (let fetched = 0; fetched < step; fetched++) {
                const [held] = await queue.fetch(1)
                if (held) queue.served([held], false)
                await Promise.all(moved.splice(0))
                const expected = twin.take()
                expect(held?.id).toBe(expected && names.get(expected.place))
                if (!held) break
                if (held.id !== 'job_0') await queue.acknowledge(held)
              }
              continue
            }
            const added = twin.add(
              step.map(({ tenant, priority, milliseconds }) => ({
                tenant,
                band: priority,
                seconds: milliseconds / 1000,
                weight: weights[tenant]!,
              })),
            )
            for (const { place } of added) names.set(place, `job_${place}`)
            await queues.add(
              step.map(({ tenant, priority, milliseconds }, index) => ({
                tenant,
                id: `job_${added[index]!.place}`,
                entry: 1,
                lane,
                priority,
                notBefore: null,
                cost: { ...cost, tokens: milliseconds },
              })),
            )
          }
        } finally {
          await queue.close()
        }
      }),
      { seed, numRuns: 25 },
    )
  })
})

describe('the service of a lane', () => {
  it('moves the virtual time on, and never back', async () => {
    const { id, held } = newLane()
    for (const [start, v] of [
      [5, 5],
      [3, 5],
      [7.25, 7],
      [0, 7],
    ] as const) {
      await fairness.serve(id, { start, seconds: 1, waiting: held.sets[0]!, isResumed: false })
      expect((await fairness.read(id)).v).toBe(v)
    }
  })

  it('is measured while entries wait, and reset when none does', { timeout: 60_000 }, async () => {
    const { id, held } = newLane()
    const [waiting] = held.sets
    const gate = createGate({ redis, prefix })
    const lane = { ...laneWith({ requests_per_minute: 60, headroom: 1 }), id }
    // No reading is kept: each has a time of its own.
    let readings = 0
    const forecaster = createForecaster({
      fairness,
      gate,
      laneOf: () => lane,
      weightOf: () => 1,
      waiting: () => redis.zcard(waiting!),
      now: () => ++readings * 1e6,
    })
    const secondsTo = async (start: number) => {
      const [forecast] = await forecaster.entries(id, [{ start, band: 'normal' }])
      return (forecast!.startAt! - Math.floor(forecast!.startAt! / 1e6) * 1e6) / 1000
    }
    await redis.zadd(waiting!, 1, 'entry')
    const flood: Tagged = { tenant: 'a', band: 'normal', seconds: 100, weight: 1 }
    await tagStarts(id, [flood], held)
    // By its limits: a second of service a second.
    expect(await secondsTo(100)).toBeCloseTo(100)
    expect((await fairness.read(id)).rate).toBeNull()

    const startedAt = performance.now()
    let given = 0
    await until(async () => {
      await fairness.serve(id, { start: 0, seconds: 0.25, waiting: waiting!, isResumed: false })
      given += 0.25
      await new Promise((resolve) => setTimeout(resolve, 50))
      return performance.now() - startedAt > 2000
    })
    const rate = given / ((performance.now() - startedAt) / 1000)
    const measured = (await fairness.read(id)).rate!
    expect(measured / rate).toBeGreaterThan(0.85)
    expect(measured / rate).toBeLessThan(1.15)
    expect((await secondsTo(100)) / (100 / rate)).toBeGreaterThan(0.8)
    expect((await secondsTo(100)) / (100 / rate)).toBeLessThan(1.2)

    await redis.del(waiting!)
    await fairness.serve(id, { start: 0, seconds: 0.25, waiting: waiting!, isResumed: false })
    expect((await fairness.read(id)).rate).toBeNull()
  })

  it('accounts for jobs that need many requests and run beside jobs that need many tokens', async () => {
    const { id } = newLane()
    expect((await fairness.read(id)).overlap).toBe(1)
    await fairness.mix(id, 10, { requests: 10, tokens: 1 })
    expect((await fairness.read(id)).overlap).toBe(1)
    await fairness.mix(id, 10, { requests: 1, tokens: 10 })
    expect((await fairness.read(id)).overlap).toBeCloseTo(0.55)
  })

  it('remembers what its entries wait for, until the lane has drained', async () => {
    const { id, held } = newLane()
    expect((await fairness.read(id)).waitingFor).toBeNull()
    await fairness.note(id, 'tokens')
    expect((await fairness.read(id)).waitingFor).toBe('tokens')
    await fairness.note(id, null)
    expect((await fairness.read(id)).waitingFor).toBeNull()
    await fairness.note(id, 'concurrency')
    await tagStarts(id, [{ tenant: 'a', band: 'high', seconds: 1, weight: 1 }], held)
    expect((await fairness.read(id)).waitingFor).toBeNull()
  })
})
