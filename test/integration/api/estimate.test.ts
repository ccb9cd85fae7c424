import { expect, it, onTestFinished } from 'vitest'
import { createTestApi } from '../../helpers/api.ts'

const job = (model: string, text: string, members: object = {}) => ({
  type: 'chat',
  body: { model, max_tokens: 100, messages: [{ role: 'user', content: text }], ...members },
})
const price = { input: 1, cached_input: 1, output: 2 }
const local = { kind: 'openai-compatible', base_url: 'http://127.0.0.1:9/v1' } as const

it('jobs are estimated by tier before anything is made: one, an array, and a file of lines', async () => {
  const api = await createTestApi({
    providers: {
      openai: {
        kind: 'openai',
        base_url: 'http://127.0.0.1:9/v1',
        api_key: 'unused',
        limits: { requests_per_minute: 60 },
        models: { small: { price }, mystery: {} },
      },
      local: { ...local, models: { own: { price } } },
    },
  })
  onTestFinished(() => api.close())
  const ask = async (payload: string, type = 'application/json') => {
    const answer = await api.app.inject({
      method: 'POST',
      url: '/v1/estimate',
      headers: { 'content-type': type },
      payload,
    })
    return { status: answer.statusCode, body: answer.json() }
  }

  const text = 'x'.repeat(400)
  const one = await ask(JSON.stringify(job('openai/small', text)))
  // 100 tokens in, 100 out.
  expect(one).toMatchObject({
    status: 200,
    body: {
      jobs: 1,
      input_tokens: 100,
      output_tokens: 100,
      tiers: { standard: { usd: 0.0003 }, flex: { usd: 0.00015 }, batch: { usd: 0.00015 } },
      refused: { count: 0 },
    },
  })

  const lines = [
    ...Array.from({ length: 121 }, (_, at) => job('openai/small', `${at} ${text}`)),
    job('openai/small', `0 ${text}`),
    job('local/own', text),
    job('openai/nothing-there', text),
  ]
  const many = await ask(
    `${lines.map((line) => JSON.stringify(line)).join('\n')}\nno json\n`,
    'application/x-ndjson',
  )
  const { tiers, lanes, refused } = many.body
  expect(lanes).toMatchObject([
    { lane: 'openai/small', jobs: 122, shared: 1, tiers: { flex: {}, batch: {} } },
    { lane: 'local/own', jobs: 1, tiers: { standard: { usd: 0.0003 }, flex: null, batch: null } },
  ])
  expect(refused).toMatchObject({
    count: 2,
    examples: [
      { index: 123, error: { code: 'model_not_found' } },
      { index: 124, error: { code: 'invalid_request' } },
    ],
  })
  const [small] = lanes
  expect(tiers.standard.usd).toBeCloseTo(small.tiers.standard.usd + 0.0003, 9)
  // What has no flex goes at standard.
  expect(tiers.flex.usd).toBeCloseTo(small.tiers.standard.usd / 2 + 0.0003, 9)
  // 121 calls at 60 a minute, 99 % of them: over two minutes.
  const seconds = (Date.parse(tiers.standard.ends_at) - Date.now()) / 1000
  expect(seconds).toBeGreaterThan(115)
  expect(seconds).toBeLessThan(130)

  const unpriced = await ask(JSON.stringify([job('openai/small', text), job('openai/mystery', text)]))
  expect(unpriced.body.tiers.standard.usd).toBeNull()
  expect(unpriced.body.lanes[0].tiers.standard.usd).toBe(0.0003)
  expect((await ask(' ')).status).toBe(400)
  // Nothing was made.
  expect((await api.app.inject({ url: '/v1/jobs' })).json().data).toEqual([])
})
