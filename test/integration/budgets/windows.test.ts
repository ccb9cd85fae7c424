import fc from 'fast-check'
import { beforeAll, describe, expect, it } from 'vitest'
import { acmeKey, createTestApi, type TestApi } from '../../helpers/api.ts'

/** Each of these is reserved at 0.001 USD: 100 tokens of output at 10 USD a million. */
const EACH = 0.001
const job = (members: object = {}) => ({
  type: 'chat',
  cache: 'off',
  body: { model: 'openai/small', max_tokens: 100, messages: [{ role: 'user', content: 'x' }] },
  ...members,
})
const budget = (usd: number, per: 'week' | 'month' = 'month') => ({ usd, per, time_zone: 'Europe/Berlin' })

describe('budgets of windows', () => {
  let api: TestApi
  let tenants = 0

  beforeAll(async () => {
    const names = Array.from({ length: 20 }, (_, index) => `t${index}`)
    api = await createTestApi({
      providers: {
        openai: {
          kind: 'openai-compatible',
          base_url: 'http://127.0.0.1:9/v1',
          models: { small: { price: { input: 0, output: 10 } }, free: {} },
        },
      },
      tenants: {
        ...Object.fromEntries(
          names.map((name, index) => [
            name,
            {
              keys: [`${acmeKey}-${name}`],
              limits: { budgets: [budget(0.0105), budget(index === 0 ? 0.0055 : 1, 'week')] },
            },
          ]),
        ),
        same: {
          keys: [`${acmeKey}-same`],
          limits: { budgets: [budget(1), budget(0.0035), { ...budget(0.5), time_zone: 'Europe/Paris' }] },
        },
      },
    })
    return () => api.close()
  })

  const nextKey = () => `${acmeKey}-t${tenants++}`
  const ask = async (key: string, method: 'POST' | 'DELETE', url: string, body?: object) => {
    const headers = { authorization: `Bearer ${key}` }
    return api.app.inject({ method, url, headers, ...(body === undefined ? {} : { payload: body }) })
  }
  const submit = (key: string, members: object = {}) => ask(key, 'POST', '/v1/jobs', job(members))

  it('hold each: the narrower one refuses, and says when it is over', async () => {
    const key = nextKey()
    const answers = await Promise.all(Array.from({ length: 8 }, () => submit(key)))
    expect(answers.filter(({ statusCode }) => statusCode === 202)).toHaveLength(5)
    const refused = answers.find(({ statusCode }) => statusCode !== 202)!
    expect(refused.statusCode).toBe(429)
    expect(refused.json().error).toMatchObject({ code: 'budget_exhausted' })
    expect(Number(refused.headers['retry-after'])).toBeLessThanOrEqual(7 * 86_400)
  })

  it('let 200 parallel jobs spend the last cents, and not one of them more', async () => {
    const key = nextKey()
    const answers = await Promise.all(Array.from({ length: 200 }, () => submit(key)))
    const taken = answers.filter(({ statusCode }) => statusCode === 202).map((answer) => answer.json().id)
    expect(taken).toHaveLength(10)
    // Settled at half of the estimate, there is room for five more.
    for (const id of taken) await api.worker.finish(id, { costUsd: EACH / 2 })
    const more = await Promise.all(Array.from({ length: 50 }, () => submit(key)))
    expect(more.filter(({ statusCode }) => statusCode === 202)).toHaveLength(5)
  })

  it('return the reservation of a cancelled job, and accept no retry for which they have no room', async () => {
    const key = nextKey()
    const first = (await submit(key)).json().id
    await ask(key, 'POST', `/v1/jobs/${first}/cancel`)
    const taken = await Promise.all(Array.from({ length: 12 }, () => submit(key)))
    expect(taken.filter(({ statusCode }) => statusCode === 202)).toHaveLength(10)
    const retried = await ask(key, 'POST', `/v1/jobs/${first}/retry`)
    expect([retried.statusCode, retried.json().error.code]).toEqual([429, 'budget_exhausted'])
  })

  it('of the same window hold by the least of them, and count a job once', async () => {
    const key = `${acmeKey}-same`
    const answers = await Promise.all(Array.from({ length: 5 }, () => submit(key)))
    const taken = answers.filter(({ statusCode }) => statusCode === 202)
    expect(taken).toHaveLength(3)
    await api.worker.finish(taken[0]!.json().id, { costUsd: EACH })
    const listed = await api.app.inject({ url: '/v1/budgets', headers: { authorization: `Bearer ${key}` } })
    expect(listed.json().data).toHaveLength(3)
    for (const one of listed.json().data)
      expect(one).toMatchObject({ spent_usd: EACH, reserved_usd: 2 * EACH })
  })

  it('do not count jobs without a price', async () => {
    const key = nextKey()
    const body = { model: 'openai/free', messages: [{ role: 'user', content: 'x' }] }
    const answers = await Promise.all(Array.from({ length: 15 }, () => submit(key, { body })))
    expect(answers.every(({ statusCode }) => statusCode === 202)).toBe(true)
  })

  it('never hold more than their amount, for any sequence of jobs', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.constantFrom('submit', 'finish', 'cancel', 'retry'), { minLength: 20, maxLength: 30 }),
        async (steps) => {
          const key = nextKey()
          const open: string[] = []
          const ended: string[] = []
          let [spent, reserved] = [0, 0]
          for (const step of steps) {
            if (step === 'submit') {
              const hasRoom = spent + reserved + 1000 <= 10_500
              const answer = await submit(key)
              expect(answer.statusCode).toBe(hasRoom ? 202 : 429)
              if (hasRoom) {
                open.push(answer.json().id)
                reserved += 1000
              }
            }
            const id = step === 'retry' ? ended.shift() : step === 'submit' ? undefined : open.shift()
            if (id === undefined) continue
            if (step === 'retry') {
              const hasRoom = spent + reserved + 1000 <= 10_500
              const answer = await ask(key, 'POST', `/v1/jobs/${id}/retry`)
              expect(answer.statusCode).toBe(hasRoom ? 200 : 429)
              if (hasRoom) {
                open.push(id)
                reserved += 1000
              }
            } else {
              reserved -= 1000
              if (step === 'finish') {
                await api.worker.finish(id, { costUsd: 0.0007 })
                spent += 700
              } else {
                await ask(key, 'POST', `/v1/jobs/${id}/cancel`)
                ended.push(id)
              }
            }
          }
        },
      ),
      { numRuns: 6 },
    )
  })
})
