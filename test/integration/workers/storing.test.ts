import { mkdtemp, readdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it, onTestFinished } from 'vitest'
import { readStoreId } from '../../../jobs/store-id.ts'
import { createProviders } from '../../../providers/registry.ts'
import { createServedLanes } from '../../../workers/served-lanes.ts'
import { startSpool } from '../../../workers/spool.ts'
import { RUN_VARIABLE } from '../../helpers/run-processes.ts'
import { newJob, submit, until } from '../../helpers/store.ts'
import { openServer } from '../providers/fixture.ts'
import { ended, openWorkshop, workerOf } from './fixture.ts'

it('an entry is acknowledged only once its result is stored', async () => {
  const order: string[] = []
  const { store, config, work } = await openWorkshop()
  const own = workerOf(store, config)
  // A claimed job is held by its place, which its acknowledgement ends.
  const acknowledge: typeof own.directDispatch.acknowledge = (held) => {
    order.push('acknowledged')
    return own.directDispatch.acknowledge(held)
  }
  await work(
    (real) => ({
      ...real,
      async complete(completions) {
        await real.complete(completions)
        order.push('stored')
      },
    }),
    { ...own, directDispatch: { ...own.directDispatch, acknowledge } },
  )
  const { id } = await submit(store)
  expect((await ended(store, id)).status).toBe('completed')
  await until(() => order.length === 2)
  expect(order).toEqual(['stored', 'acknowledged'])
})

it('a result that the store does not accept is on disk until it does', async () => {
  const { store, simulator, work, errors } = await openWorkshop()
  const folder = await mkdtemp(join(process.env[RUN_VARIABLE] ?? tmpdir(), 'spool-'))
  const spool = startSpool({
    folder,
    storeId: () => readStoreId(store.redis, store.prefix),
    restore: store.work.restore,
    onError: (error, what) => errors.push(`${what}: ${error}`),
  })
  onTestFinished(() => spool.stop())
  const results = async () => (await readdir(folder)).filter((name) => name.endsWith('.json'))
  let isTaking = false
  await work(
    (real) => ({
      ...real,
      complete: (completions) =>
        isTaking ? real.complete(completions) : Promise.reject(new Error('Command timed out')),
    }),
    { spool },
  )
  const { id } = await submit(store)
  await until(async () => (await results()).length === 1)
  isTaking = true
  expect((await ended(store, id)).status).toBe('completed')
  await until(async () => (await results()).length === 0)
  expect(simulator.state().calls).toBe(1)
})

it('an answer that is not worth keeping is bought again', async () => {
  const { store, config, work } = await openWorkshop()
  let calls = 0
  const usage = { prompt_tokens: 5, completion_tokens: 0, total_tokens: 5 }
  const base_url = await openServer((_, response) => {
    const content = calls++ === 0 ? '' : 'Hello.'
    const choices = [{ index: 0, message: { role: 'assistant', content }, finish_reason: 'stop' }]
    const answer = { id: 'a', object: 'chat.completion', created: 1, model: 'm', choices, usage }
    response.end(JSON.stringify(answer))
  })
  const providers = createProviders({
    config: { providers: { sim: { ...config.providers.sim!, base_url } } },
  })
  onTestFinished(() => providers.close())
  await work(undefined, { lanes: createServedLanes({ config: () => config, provider: providers.get }) })
  for (const cache of ['miss', 'miss', 'hit'] as const) {
    const outcome = await store.jobs.create(newJob())
    if (!('job' in outcome)) throw new Error(outcome.kind)
    const job = await ended(store, outcome.job.id)
    expect(job).toMatchObject({ status: 'completed', cache })
  }
  expect(calls).toBe(2)
})
