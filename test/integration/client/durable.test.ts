import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  type ClientOptions,
  type CreateJob,
  createClient,
  type Durable,
  type DurableSteps,
  type Fetch,
  JobFailedError,
  type SluiceClient,
  SluiceError,
} from '../../../client/index.ts'
import { createTestApi, type TestApi } from '../../helpers/api.ts'
import { until } from '../../helpers/store.ts'

let api: TestApi
let url: string
let client: SluiceClient
let durable: Durable
beforeAll(async () => {
  api = await createTestApi({ tenants: {} })
  url = await api.listen()
  client = open()
  ;({ durable } = client)
})
afterAll(() => api.close())

const retries = { attempts: 5, firstWaitMs: 5, longestWaitMs: 1_000 }
const open = (options: Partial<ClientOptions> = {}) => createClient({ url, retries, ...options })

let runs = 0
const newRun = () => `run ${++runs}`
const chat = (content: string): CreateJob => ({
  type: 'chat',
  cache: 'off',
  body: { model: 'openai/small', messages: [{ role: 'user', content }] },
})

/** The jobs of a run, by their steps. */
async function jobsOf(run: string): Promise<Record<string, string>> {
  const found = await durable.get(run).catch((error: unknown) => {
    if (error instanceof SluiceError && error.status === 404) return { steps: [] }
    throw error
  })
  return Object.fromEntries(found.steps.map(({ name, job_id }) => [name, job_id ?? '']))
}

/** Answers the job of a step, as soon as there is one. */
async function answer(run: string, name: string, result: Record<string, string>): Promise<string> {
  await until(async () => Boolean((await jobsOf(run))[name]))
  const id = (await jobsOf(run))[name]!
  await api.worker.finish(id, { result })
  return id
}

const failed = (promise: Promise<unknown>) =>
  promise.then(
    () => null,
    (error: unknown) => error as SluiceError,
  )

describe('a durable function', () => {
  it('goes on where it was, in any process, and requests nothing twice', async () => {
    const run = newRun()
    let isFirst = true
    const write = () =>
      durable(run, async (step) => {
        const outline = await step.job<{ text: string }>('outline', chat('Outline it'))
        if (isFirst) throw new Error('this process has died')
        const [one, two] = await step.all([
          step.job<{ text: string }>('one', chat(`One of ${outline.text}`)),
          step.job<{ text: string }>('two', chat(`Two of ${outline.text}`)),
        ])
        await step.sleep('rest', '20ms')
        return `${one.text} ${two.text}`
      })
    const dead = failed(write())
    const outline = await answer(run, 'outline', { text: 'it' })
    expect(await dead).toMatchObject({ message: 'this process has died' })
    isFirst = false
    const both = [write(), write()]
    await answer(run, 'two', { text: 'last' })
    await answer(run, 'one', { text: 'first' })
    expect(await Promise.all(both)).toEqual(['first last', 'first last'])
    expect(await write()).toBe('first last')
    expect(Object.keys(await jobsOf(run)).sort()).toEqual(['one', 'outline', 'rest', 'two'])
    expect((await jobsOf(run)).outline).toBe(outline)
  })

  it('makes each job once though answers are lost', async () => {
    const run = newRun()
    let lost = 0
    const losing: Fetch = async (input, init) => {
      const response = await fetch(input, init)
      if (init?.method === 'PUT' && lost++ < 2) throw new TypeError('fetch failed')
      return response
    }
    const written = open({ fetch: losing }).durable(run, (step) => step.job('one', chat(run)))
    const id = await answer(run, 'one', { text: 'once' })
    expect(await written).toEqual({ text: 'once' })
    expect(lost).toBe(3)
    const jobs = await Array.fromAsync(client.list({ limit: 1000 }))
    expect(jobs.filter(({ durable }) => durable?.id === run).map((job) => job.id)).toEqual([id])
  })

  it('throws for a job that failed, each time, until it is queued again', async () => {
    const run = newRun()
    const write = () => durable(run, (step) => step.job('one', chat(run)))
    const first = failed(write())
    await until(async () => Boolean((await jobsOf(run)).one))
    const { one: id } = await jobsOf(run)
    await api.worker.finishFailed(id!)
    for (const error of [await first, await failed(write())]) {
      expect(error).toBeInstanceOf(JobFailedError)
      expect(error).toMatchObject({ job: { id, error: { code: 'boom' } } })
    }
    await client.retry(id!)
    const again = write()
    await api.worker.finish(id!, { result: { text: 'now' } })
    expect(await again).toEqual({ text: 'now' })
  })

  it('may do something else where a step failed', async () => {
    const run = newRun()
    const write = () =>
      durable(run, async (step) => {
        try {
          return await step.job('one', chat(run))
        } catch (error) {
          if (!(error instanceof JobFailedError)) throw error
          return await step.job('another way', chat(`${run} otherwise`))
        }
      })
    const first = write()
    await until(async () => Boolean((await jobsOf(run)).one))
    await api.worker.finishFailed((await jobsOf(run)).one!)
    await answer(run, 'another way', { text: 'otherwise' })
    expect(await first).toEqual({ text: 'otherwise' })
    expect(await write()).toEqual({ text: 'otherwise' })
  })

  it('learns when a step became another, and of two steps of one name', async () => {
    const run = newRun()
    const nap = (time: string | number) => durable(run, (step) => step.sleep('nap', time))
    await nap(0)
    expect(await failed(nap('1ms'))).toMatchObject({ code: 'step_changed', status: 409, param: 'path.name' })
    expect(await failed(durable(run, (step) => step.job('nap', chat('nap'))))).toMatchObject({
      code: 'step_changed',
    })
    const twice = durable(run, async (step) => {
      await step.sleep('nap', 0)
      await step.signal('nap')
    })
    expect(await failed(twice)).toMatchObject({ code: 'duplicate_step', param: 'name', status: null })
  })

  it('learns what is wrong with a name, a time, a job', async () => {
    for (const bad of ['', '.', '..', 'a\nb', 'größe', 'x'.repeat(129)]) {
      expect(await failed(durable(bad, async () => 1)), bad).toMatchObject({
        code: 'invalid_request',
        param: 'id',
      })
      const named = durable('fine', (step) => step.sleep(bad, 0))
      expect(await failed(named), bad).toMatchObject({ code: 'invalid_request', param: 'name' })
    }
    for (const bad of ['', '1', '1 h', '-1s', '1w', -1, Number.NaN, Number.POSITIVE_INFINITY]) {
      const slept = durable('fine', (step) => step.sleep('nap', bad))
      expect(await failed(slept), String(bad)).toMatchObject({ code: 'invalid_request', param: 'time' })
    }
    const job: CreateJob = { type: 'chat', body: { model: 'openai/small', messages: [] } }
    expect(await failed(durable('fine', (step) => step.job('one', job)))).toMatchObject({
      status: 400,
      param: 'job.body.messages',
    })
    expect(await failed(durable.signal('fine', 'one', undefined))).toMatchObject({ param: 'value' })
    expect(await failed(durable.get('fine'))).toMatchObject({ status: 404 })
  })

  it('throws the first failure of many steps when all of them are over', async () => {
    const run = newRun()
    let areOver = false
    const all = durable(run, async (step) => {
      const slow = step.sleep('slow', '300ms').then(() => {
        areOver = true
      })
      const late = step.signal('late', { timeout: '20ms' })
      try {
        return await step.all([slow, late, step.sleep('none', 0)])
      } finally {
        expect(areOver).toBe(true)
      }
    })
    expect(await failed(all)).toMatchObject({
      code: 'signal_timeout',
      message: expect.stringContaining('late'),
    })
  })

  it('gets a signal, whether it came before or comes while it waits', async () => {
    const run = newRun()
    const values = [{ ok: true, note: 'größe' }, [1, 'two', null], 'yes', 0, false, null]
    await durable(run, (step) => step.sleep('begun', 0))
    await durable.signal(run, 'signal 0', values[0])
    const got = durable(run, (step) => step.all(values.map((_, index) => step.signal(`signal ${index}`))))
    for (const [index, value] of values.entries())
      if (index > 0) await durable.signal(run, `signal ${index}`, value)
    expect(await got).toEqual(values)
    expect(await failed(durable.signal(run, 'signal 1', 'another'))).toMatchObject({
      code: 'already_signalled',
    })
    expect(await durable.signal(run, 'signal 9', 1, { idempotencyKey: 'a' })).toEqual(
      await durable.signal(run, 'signal 9', 1, { idempotencyKey: 'a' }),
    )
  })

  it('leaves nothing behind when it ends: not the steps that it raced, and no step after it', async () => {
    const run = newRun()
    let kept: DurableSteps | undefined
    let asked = 0
    const counting: Fetch = (input, init) => {
      asked++
      return fetch(input, init)
    }
    const winner = await open({ fetch: counting }).durable(run, (step) => {
      kept = step
      return Promise.race([
        step.signal('never'),
        step.sleep('nap', 0).then(() => 'slept'),
        step.job('one', chat(run)),
      ])
    })
    expect(winner).toBe('slept')
    const before = asked
    await expect(kept!.sleep('late', 0)).rejects.toThrow('has ended')
    expect(asked).toBe(before)
    await durable.delete(run)
  })

  it('ends with the reason of its signal, and its jobs go on', async () => {
    const run = newRun()
    const leaving = new AbortController()
    const aborted = failed(durable(run, (step) => step.job('one', chat(run)), { signal: leaving.signal }))
    await until(async () => Boolean((await jobsOf(run)).one))
    leaving.abort(new Error('enough'))
    expect(await aborted).toMatchObject({ message: 'enough' })
    expect((await client.get((await jobsOf(run)).one!)).status).toBe('queued')
    const listed: string[] = []
    for await (const { id } of durable.list({ limit: 2 })) listed.push(id)
    expect(listed).toContain(run)
    expect(new Set(listed).size).toBe(listed.length)
    await durable.delete(run)
    expect(await jobsOf(run)).toEqual({})
  })

  it('requests so many steps at a time, however many it begins', async () => {
    const run = newRun()
    let under = 0
    let most = 0
    const counting: Fetch = async (input, init) => {
      most = Math.max(most, ++under)
      try {
        return await fetch(input, init)
      } finally {
        under--
      }
    }
    const steps = Array.from({ length: 150 }, (_, index) => `step ${index}`)
    const all = open({ fetch: counting }).durable(run, (step) =>
      step.all(steps.map((name) => step.job<{ text: string }>(name, chat(`${run} ${name}`)))),
    )
    await until(async () => Object.keys(await jobsOf(run)).length === steps.length, 20_000)
    for (let left = steps.length; left > 0; left--) {
      const running = await api.worker.next()
      await api.worker.complete(running, { result: { text: running.claimed.id } })
    }
    const ids = await jobsOf(run)
    expect(await all).toEqual(steps.map((name) => ({ text: ids[name] })))
    expect(most).toBeLessThanOrEqual(80)
  }, 60_000)
})
