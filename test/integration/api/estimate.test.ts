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
      { index: 123, error: { code: 'model_not_found', param: 'body.model' } },
      { index: 124, error: { code: 'invalid_request', param: 'body' } },
    ],
  })
  const [small] = lanes
  expect(tiers.standard.usd).toBeCloseTo(small.tiers.standard.usd + 0.0003, 9)
  // Jobs without flex go at standard.
  expect(tiers.flex.usd).toBeCloseTo(small.tiers.standard.usd / 2 + 0.0003, 9)
  // 121 calls at 60 a minute, 99 % of them: over two minutes.
  const seconds = (Date.parse(tiers.standard.ends_at) - Date.now()) / 1000
  expect(seconds).toBeGreaterThan(115)
  expect(seconds).toBeLessThan(130)

  const unpriced = await ask(JSON.stringify([job('openai/small', text), job('openai/mystery', text)]))
  expect(unpriced.body.tiers.standard.usd).toBeNull()
  expect(unpriced.body.lanes[0].tiers.standard.usd).toBe(0.0003)
  expect((await ask(' ')).status).toBe(400)
  // Faults are named by their place, in one job and in each of several.
  for (const [wrong, param] of [
    [{ ...job('openai/small', text), priority: 'soon' }, 'priority'],
    [{ ...job('openai/small', text), tier: 'cheap' }, 'tier'],
    [{ ...job('local/own', text), tier: 'flex' }, 'tier'],
    [{ ...job('openai/small', text), deadline: 'tomorrow' }, 'deadline'],
    [{ type: 'chat', body: { messages: [] } }, 'body.model'],
    [{ type: 'song', body: {} }, 'type'],
  ] as const) {
    const { refused } = (await ask(JSON.stringify([job('openai/small', text), wrong]))).body
    expect(refused.examples, param).toMatchObject([{ index: 1, error: { param } }])
  }
  // All lanes that have a tier say when it would end, and so does the sum.
  for (const { tiers: own } of [...lanes, many.body]) {
    for (const tier of Object.values(own as Record<string, { ends_at: string } | null>))
      if (tier !== null) expect(Date.parse(tier.ends_at)).toBeGreaterThan(Date.now() - 60_000)
  }
  // Nothing was created.
  expect((await api.app.inject({ url: '/v1/jobs' })).json().data).toEqual([])
})

it('pictures and sound are counted with their prices and limits, and equal files once', async () => {
  const api = await createTestApi({
    providers: {
      // The tests' route names it.
      openai: { kind: 'openai', base_url: 'http://127.0.0.1:9/v1', api_key: 'unused', models: { small: {} } },
      local: {
        ...local,
        limits: { headroom: 1 },
        models: {
          painter: { price: { input: 0, output: 0, image: 0.04 }, limits: { images_per_minute: 20 } },
          listener: {
            price: { input: 0, output: 0, audio_second: 0.0001 },
            limits: { audio_seconds_per_minute: 60 },
          },
        },
      },
    },
  })
  onTestFinished(() => api.close())
  const upload = async (seconds: number, name: string) => {
    const form = new FormData()
    form.set('purpose', 'user_data')
    form.set('file', new File([wave(seconds)], name))
    const request = new Request('http://localhost', { method: 'POST', body: form })
    const answer = await api.app.inject({
      method: 'POST',
      url: '/v1/files',
      headers: { 'content-type': request.headers.get('content-type')! },
      payload: Buffer.from(await request.arrayBuffer()),
    })
    return answer.json().id as string
  }
  const [sound, same, long] = [
    await upload(30, 'a.wav'),
    await upload(30, 'b.wav'),
    await upload(61, 'c.wav'),
  ]
  const picture = (prompt: string, n: number) => ({
    type: 'image',
    body: { model: 'local/painter', prompt, n },
  })
  const heard = (file: string) => ({ type: 'transcription', body: { model: 'local/listener', file } })
  const answer = await api.app.inject({
    method: 'POST',
    url: '/v1/estimate',
    payload: [
      ...[picture('a', 10), picture('b', 20), picture('a', 10), picture('c', 21)],
      ...[heard(sound), heard(same), heard(long), heard('file-nobody')],
    ],
  })
  expect(answer.statusCode).toBe(200)
  const { lanes, refused, ...sum } = answer.json()
  expect(sum).toMatchObject({ jobs: 5, shared: 2, images: 30, audio_seconds: 30 })
  expect(lanes).toMatchObject([
    { lane: 'local/painter', jobs: 3, images: 30, bound_by: 'images', tiers: { standard: { usd: 1.2 } } },
    {
      lane: 'local/listener',
      ...{ jobs: 2, shared: 1, audio_seconds: 30, bound_by: 'seconds of sound' },
      tiers: { standard: { usd: 0.003 } },
    },
  ])
  // 30 pictures at 20 a minute.
  const minutes = (Date.parse(sum.tiers.standard.ends_at) - Date.now()) / 60_000
  expect(minutes).toBeGreaterThan(1.2)
  expect(minutes).toBeLessThan(1.6)
  expect(refused).toMatchObject({
    count: 3,
    examples: [
      { index: 3, error: { code: 'exceeds_limit', message: expect.stringContaining('21 images') } },
      { index: 6, error: { code: 'exceeds_limit', message: expect.stringContaining('61 seconds of audio') } },
      { index: 7, error: { code: 'invalid_request', param: 'body.file' } },
    ],
  })
})

/** 8-bit mono samples of silence at 1 kHz. */
function wave(seconds: number): Uint8Array<ArrayBuffer> {
  const samples = Buffer.alloc(seconds * 1000)
  const head = Buffer.from(
    '524946460000000057415645666d74201000000001000100e8030000e80300000100080064617461',
    'hex',
  )
  const length = Buffer.alloc(4)
  length.writeUInt32LE(samples.length)
  return new Uint8Array(Buffer.concat([head, length, samples]))
}
