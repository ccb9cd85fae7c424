import fc from 'fast-check'
import { afterAll, describe, expect, it, onTestFinished } from 'vitest'
import { createQueues } from '../../jobs/queue.ts'
import type { Order, QueueEntry } from '../../jobs/queue-entry.ts'
import { closeRedis, createRedis } from '../../lib/redis.ts'
import { createFairness } from '../../ratelimit/create-fairness.ts'
import { priorityOf } from '../../ratelimit/fairness.ts'
import { testRedis } from '../helpers/redis.ts'
import { seed } from '../helpers/seed.ts'
import { createFairTenant } from '../model/ratelimit/fair-keys.ts'

const place = testRedis()
const { prefix } = place
const redis = createRedis({ ...place, role: 'commands', name: 'test-fair-keys' })
afterAll(() => closeRedis(redis))
const fairness = createFairness({ redis, prefix })

const order: Order = {
  async place(lane, entries, held) {
    const tags = await fairness.tag(
      lane,
      entries.map(({ tenant, priority, cost: { fairKey } }) => ({
        tenant,
        band: priority,
        seconds: 1,
        weight: 1,
        ...(fairKey === undefined ? {} : { fairKey }),
      })),
      held,
    )
    return tags.map(({ start, turn }, index) => ({
      start,
      seconds: 1,
      priority: priorityOf(start, entries[index]!.priority),
      flow: entries[index]!.priority,
      share: 1,
      ...(turn === null ? {} : { turn }),
    }))
  },
  served: (lane, service) => void fairness.serve(lane, service),
  left: (lane, entries) => void fairness.untag(lane, entries),
}

let lanes = 0
function open() {
  const lane = `test/keys-${++lanes}`
  const connection = createRedis({ ...place, role: 'bullmq', name: 'test-fair-keys-queue' })
  onTestFinished(() => closeRedis(connection))
  const queues = createQueues({ connection, prefix, stalledAfterMs: 15_000, order })
  const queue = queues.consume(lane, { onStalled() {}, onError() {} })
  onTestFinished(() => queue.close())
  let ids = 0
  function entry(tenant: string, fairKey?: string): QueueEntry {
    const cost = { tokens: 1, inputTokens: 1, outputTokens: 0, inputs: 1, coalesceKey: null }
    return {
      tenant,
      id: `job_${String(ids++).padStart(6, '0')}`,
      entry: 1,
      lane,
      priority: 'normal',
      notBefore: null,
      cost: fairKey === undefined ? cost : { ...cost, fairKey },
    }
  }
  /** Serves up to `count` entries one by one; their `<tenant>/<fair key>`. */
  async function serve(count: number): Promise<string[]> {
    const served: string[] = []
    while (served.length < count) {
      const [held] = await queue.fetch(1)
      if (!held) break
      queue.served([held], false)
      await queue.acknowledge(held)
      served.push(`${held.tenant}/${held.cost.fairKey ?? ''}`)
    }
    return served
  }
  return { lane, queues, queue, entry, serve }
}

describe('turns inside a tenant', () => {
  it('go round its fair keys, and leave the turns of other tenants unchanged', async () => {
    const { queues, entry, serve } = open()
    await queues.add(Array.from({ length: 300 }, () => entry('acme', 'flood')))
    await queues.add(Array.from({ length: 20 }, () => entry('other')))
    expect(await serve(4)).toEqual(['acme/flood', 'other/', 'acme/flood', 'other/'])
    await queues.add([entry('acme', 'late'), entry('acme', 'late'), entry('acme', 'third')])
    const served = await serve(12)
    const own = served.filter((one) => one.startsWith('acme/'))
    expect(own.slice(0, 3).toSorted()).toEqual(['acme/flood', 'acme/late', 'acme/third'])
    expect(own.slice(3, 5).toSorted()).toEqual(['acme/flood', 'acme/late'])
    expect(served.filter((one) => one === 'other/')).toHaveLength(6)
  })

  it('reach ten thousand keys behind the flood of one, each at its share', async () => {
    const { queues, entry, serve } = open()
    await queues.add(Array.from({ length: 1000 }, () => entry('acme', 'flood')))
    await serve(10)
    await queues.add(Array.from({ length: 200 }, (_, index) => entry('acme', `k${index}`)))
    const served = await serve(205)
    expect(served.filter((one) => one !== 'acme/flood')).toHaveLength(200)
  })

  it('are those of the model, for any sequence of entries and service', async () => {
    const anyKey = fc.constantFrom('a', 'b', 'c', undefined)
    const step = fc.oneof(fc.array(anyKey, { minLength: 1, maxLength: 12 }), fc.integer({ min: 1, max: 6 }))
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
        const { queues, entry, serve } = open()
        // The lane has fair keys from the first entry on.
        const model = createFairTenant()
        const add = async (keys: (string | undefined)[]) => {
          const entries = keys.map((key) => entry('acme', key))
          await queues.add(entries)
          model.add(entries.map(({ id, cost }) => ({ id, key: cost.fairKey ?? '', seconds: 1 })))
        }
        await add(['first', 'first'])
        for (const one of steps) {
          if (Array.isArray(one)) await add(one)
          else {
            const expected = Array.from({ length: one }, () => model.take()).filter(
              (key) => key !== undefined,
            )
            expect((await serve(one)).map((name) => name.slice('acme/'.length))).toEqual(expected)
          }
        }
      }),
      { seed, numRuns: 25 },
    )
  })

  it('forget a key once its entries are behind the time of its tenant', async () => {
    const { lane, queues, entry, serve } = open()
    await queues.add(Array.from({ length: 50 }, () => entry('acme', 'flood')))
    for (let round = 0; round < 5; round++) {
      await queues.add(Array.from({ length: 40 }, (_, index) => entry('acme', `k${round}-${index}`)))
      await serve(45)
    }
    await queues.add(Array.from({ length: 30 }, () => entry('acme', 'flood')))
    expect(await redis.zcard(`${prefix}:{l:${lane}}:key-ends:normal:acme`)).toBeLessThan(170)
    await serve(500)
    expect(await redis.exists(`${prefix}:{l:${lane}}:key-turns:normal:acme`)).toBe(0)
  })
})
