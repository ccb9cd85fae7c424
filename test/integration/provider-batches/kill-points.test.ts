import { expect, onTestFinished, test } from 'vitest'
import { resolveLane } from '../../../config/lanes.ts'
import { createIds } from '../../../lib/job-id.ts'
import { createGathering } from '../../../provider-batches/gathering.ts'
import { batchesRoot } from '../../../provider-batches/keys.ts'
import type { BatchApi } from '../../../provider-batches/providers/batch-api.ts'
import { createBatchApi } from '../../../provider-batches/providers/create-api.ts'
import type { ProviderBatchDeps } from '../../../provider-batches/runner/deps.ts'
import { runLane } from '../../../provider-batches/runner/lane.ts'
import { createProviderBatchScripts } from '../../../provider-batches/scripts.ts'
import { createProviderBatchStore } from '../../../provider-batches/store.ts'
import { createBatchLines } from '../../../providers/batch-lines.ts'
import { createAgent } from '../../../providers/connections.ts'
import { createSimulator } from '../../../simulator/simulator.ts'
import { parseTestConfig } from '../../helpers/api.ts'
import { newJob, openTestStore, TENANT } from '../../helpers/store.ts'

/** What a worker repeats without changing anything. */
const LOOKS = new Set(['look', 'leaving', 'open', 'get', 'renew', 'read', 'recent', 'lines', 'line'])

/** A worker's life: from its last step on nothing that it does has an effect, and its connections are cut. */
function createLife(lastStep: number, isDone: boolean) {
  const steps: string[] = []
  const stop = new AbortController()
  const died = Promise.withResolvers<void>()
  const grave = Promise.withResolvers<never>()
  grave.promise.catch(() => {})
  let isDead = false

  async function step<T>(name: string, act: () => Promise<T>): Promise<T> {
    if (isDead) return grave.promise
    const isLast = !LOOKS.has(name) && steps.push(name) - 1 === lastStep
    if (isLast && !isDone) die()
    if (isDead) return grave.promise
    const result = await act()
    if (isLast) die()
    return isDead ? grave.promise : result
  }
  function die() {
    isDead = true
    stop.abort()
    died.resolve()
  }
  /** The same, each of whose methods is a step. */
  function wrap<Part extends object>(part: Part): Part {
    return new Proxy(part, {
      get(target, name) {
        const member: unknown = Reflect.get(target, name)
        // It has no effect, and answers at once.
        if (typeof member !== 'function' || name === 'encode') return member
        if (name === 'results') return (...args: unknown[]) => readStepwise(member.apply(target, args))
        return (...args: unknown[]) => step(String(name), async () => member.apply(target, args))
      },
    })
  }
  async function* readStepwise(results: AsyncIterable<unknown>) {
    for await (const result of results) yield await step('result', async () => result)
  }
  return {
    ...{ steps, wrap, stop, died: died.promise },
    bury: () => grave.reject(new Error('the worker is dead')),
  }
}

test.each(['openai', 'anthropic'] as const)(
  'a worker may die before or after any step of a batch of %s: each job ends once, and each line is bought once',
  async (kind) => {
    const simulator = createSimulator()
    const url = await simulator.listen()
    onTestFinished(() => simulator.close())
    const store = await openTestStore()
    const dispatcher = createAgent(null)
    onTestFinished(() => dispatcher.close())
    const scripts = createProviderBatchScripts(store.redis)
    const batches = createProviderBatchStore({ redis: store.redis, scripts, prefix: store.prefix })
    const gathering = createGathering({
      ...{ redis: store.redis, scripts, prefix: store.prefix },
      weightOf: () => 1,
      now: Date.now,
    })
    const tiers = { batch: { gather: '1ms', poll: '10ms' } }
    const base_url = kind === 'openai' ? url : url.replace(/\/v1$/, '')
    const up = { kind, base_url, api_key: 'unused-but-long', models: { '*': { tiers } } }
    const config = parseTestConfig({ providers: { up }, routes: {} } as unknown as Parameters<
      typeof parseTestConfig
    >[0])
    const errors: unknown[] = []
    const newId = createIds('pbatch_', Date.now)

    /** Has two jobs done by a worker that lives this long, and by another one after it. */
    async function run(lastStep: number, isDone: boolean): Promise<string[]> {
      const model = `m${lastStep}${isDone ? 'after' : 'before'}`
      const id = `up/${model}`
      const made = ['one', 'two'].map((content) =>
        newJob({
          ...{
            lane: id,
            model: id,
            body: { model: id, max_tokens: 8, messages: [{ role: 'user', content }] },
          },
          gather: { type: 'chat', leaveAt: null, bytes: 300 },
        }),
      )
      const created = (await store.jobs.createMany(made)) as { id: string }[]
      await gathering.add(
        created.map((job, at) => ({
          ...{ tenant: TENANT, id: job.id, entry: 1, lane: id, priority: 'normal' as const, notBefore: null },
          ...{ cost: made[at]!.cost, gather: made[at]!.gather! },
        })),
      )
      const life = createLife(lastStep, isDone)
      const first = await work(life)
      await Promise.race([first?.done, life.died])
      await store.redis.del(`${batchesRoot(store.prefix, id)}:lease`)
      const heir = createLife(Number.POSITIVE_INFINITY, false)
      // Null: the dead one left nothing.
      await (await work(heir))?.done
      life.bury()
      await first?.done

      async function work(own: ReturnType<typeof createLife>) {
        const held = await batches.claim(id, `${lastStep} ${own === life}`)
        if (held === null) return null
        const lane = resolveLane(config, id)!
        const api = own.wrap<BatchApi>(createBatchApi(config.providers.up!, dispatcher))
        const jobs = own.wrap(store.work)
        const deps: ProviderBatchDeps = {
          ...{ store: own.wrap(batches), work: jobs, newId, now: Date.now },
          laneOf: () => ({
            ...{ lane, tier: lane.tiers!.batch!, isClosed: false, api },
            lines: createBatchLines('up', config.providers.up!, Date.now),
            by: () => null,
            chooseSource: async () => null,
          }),
          prepare: async (_, job) => ({
            body: job.claimed.body,
            async deliver(answer, end) {
              const { body: result, usage } = answer
              await jobs.complete([{ claimed: job.claimed, end, result, usage, costUsd: 0 }])
              return { costUsd: 0, savedUsd: 0 }
            },
          }),
          areOver: async (some) => some.map(() => false),
          onError(error) {
            // An error of the dead one, whose requests are cut.
            if (own !== life) errors.push(error)
          },
          onEvent() {},
        }
        return runLane(deps, held, own.stop.signal)
      }

      const jobs = await Promise.all(created.map((job) => store.jobs.get(TENANT, job.id)))
      const bought = simulator.calls().filter((call) => call.model === model)
      expect
        .soft(
          {
            at: life.steps[lastStep],
            isDone,
            ends: jobs.map((job) => job!.status),
            bought: bought.length,
            batches: new Set(bought.map((call) => call.batch)).size,
          },
          model,
        )
        .toEqual({
          at: life.steps[lastStep],
          isDone,
          ends: ['completed', 'completed'],
          bought: 2,
          batches: 1,
        })
      return life.steps
    }

    const steps = await run(Number.POSITIVE_INFINITY, false)
    expect(steps.length).toBeGreaterThan(10)
    for (let at = 0; at < steps.length; at += 4) {
      const some = [at, at + 1, at + 2, at + 3].filter((step) => step < steps.length)
      await Promise.all(some.flatMap((step) => [run(step, false), run(step, true)]))
    }
    expect(errors).toEqual([])
    for (const { state, outcome, counts } of await batches.recent(1000)) {
      // An answer that was stored, but not counted, needs no further answer.
      expect([state, outcome, counts.completed + counts.dropped]).toEqual(['ended', 'completed', 2])
    }
  },
)
