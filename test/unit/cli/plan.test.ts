import { expect, test } from 'vitest'
import type { LaneView } from '../../../cli/lane-view.ts'
import { addUpLoad, type LaneLoad } from '../../../cli/plan/estimate.ts'
import { forecastLane, forecastTiers } from '../../../cli/plan/forecast.ts'
import { readRequest } from '../../../cli/submit/read-request.ts'
import { loadConfig } from '../../../config/load.ts'
import { listSharedLimits } from '../../../config/shared-limits.ts'
import { CallType } from '../../../lib/call-type.ts'

const config = loadConfig({
  path: 'sluice.yaml',
  env: {},
  text: `
providers:
  sim:
    kind: openai-compatible
    base_url: http://127.0.0.1:1/v1
    limits: { requests_per_minute: 60, tokens_per_minute: 6000, headroom: 0.5 }
    models:
      chat: { price: { input: 1, output: 2 } }
      embed: { price: { input: 1 }, coalesce: { max_inputs: 10, max_tokens: 1000, max_wait: 20ms } }
routes: { fast: [sim/chat] }
`,
})

async function* lines(values: object[]) {
  for (const [index, value] of values.entries()) {
    const text = Buffer.from(JSON.stringify(value))
    yield readRequest({ text, number: index + 1, start: 0, end: text.length })
  }
}

function chat(content: string, members: object = {}, body: object = {}): object {
  return {
    type: 'chat',
    body: { model: 'fast', messages: [{ role: 'user', content }], ...body },
    ...members,
  }
}

test('equal jobs are one call, and those that want their own are not', async () => {
  const same = [chat('a'), chat('a'), chat('a', { cache: 'off' }), chat('b')]
  const { lanes } = await addUpLoad(lines(same), config, 100)
  expect(lanes).toMatchObject([{ lane: { id: 'sim/chat' }, jobs: 4, shared: 1, calls: 3 }])
})

test('embedding jobs fill one request after the other; those that differ in more than input do not share', async () => {
  const embed = (index: number, dimensions: number) => ({
    type: 'embedding',
    body: { model: 'sim/embed', input: `text ${index}`, dimensions },
  })
  const jobs = Array.from({ length: 25 }, (_, index) => embed(index, 4)).concat(embed(1, 8))
  const { lanes } = await addUpLoad(lines(jobs), config, 100)
  expect(lanes).toMatchObject([{ lane: { id: 'sim/embed' }, jobs: 26, calls: 4 }])
})

test('an answer is priced at its cap, or at an assumed length', async () => {
  const { lanes } = await addUpLoad(
    lines([chat('four', {}, { max_tokens: 1000 }), chat('more')]),
    config,
    100,
  )
  expect(lanes[0]!.usd).toBeCloseTo((2 * 1 + (1000 + 100) * 2) / 1e6, 12)
})

test('a type that does not exist is refused with a list of those that do', async () => {
  const { refused } = await addUpLoad(lines([{ type: 'chatt', body: { model: 'fast' } }]), config, 100)
  const types = Object.values(CallType)
  expect(refused.examples).toEqual([{ line: 1, reason: `type: expected one of ${types.join(', ')}` }])
})

test('a line that the server would refuse is reported', async () => {
  const wrong = [
    chat('a', {}, { model: 'none' }),
    { type: 'image', body: {} },
    chat('a', {}, { max_tokens: 7000 }),
  ]
  const { lanes, refused } = await addUpLoad(lines(wrong), config, 100)
  expect(lanes).toEqual([])
  expect(refused.count).toBe(3)
  expect(refused.examples.map(({ line }) => line)).toEqual([1, 2, 3])
})

const load = async (jobs: object[]): Promise<LaneLoad> => (await addUpLoad(lines(jobs), config, 0)).lanes[0]!
const view: LaneView = {
  id: 'sim/chat',
  rates: { requests: 30, tokens: 3000, input_tokens: null, output_tokens: null },
  speed: 1,
  utilisation: 0,
  used: { requests: 10, tokens: 10_000 },
  backlog: { waiting: 12, delayed: 5, held: 0 },
  in_flight: 0,
  paused_until: null,
  paused_reason: null,
  waiting_for: null,
  breaker: { state: 'closed' },
  latency_ms: { p50: null, p95: null },
  throttled: 0,
}

test('the limit that lasts longest decides, headroom taken off', async () => {
  const many = Array.from({ length: 30 }, (_, index) => chat(`${index}`))
  expect(forecastLane(await load(many), null)).toEqual({
    seconds: 60,
    boundBy: 'requests',
    backlogSeconds: null,
  })
  const large = [chat('a', {}, { max_tokens: 3000 }), chat('b', {}, { max_tokens: 3000 })]
  expect(forecastLane(await load(large), null)).toMatchObject({ seconds: 120, boundBy: 'tokens' })
})

test('a server that was asked adds its backlog, its own rates and its speed', async () => {
  const many = Array.from({ length: 30 }, (_, index) => chat(`${index}`))
  const forecast = forecastLane(await load(many), { ...view, speed: 0.5 })
  // 12 jobs of 1,000 tokens each at 1,500 tokens a minute.
  expect(forecast).toEqual({ seconds: 120, boundBy: 'requests', backlogSeconds: 480 })
})

test('the cheaper tiers are priced beside it, and an unknown price is not zero', async () => {
  const priced = loadConfig({
    path: 'sluice.yaml',
    env: {},
    text: `
providers:
  openai: { kind: openai, api_key: sk-x, models: { m: { price: { input: 1, output: 2 } }, mystery: {} } }
`,
  })
  const ask = (model: string) => ({
    type: 'chat',
    body: { model, max_tokens: 1000, messages: [{ role: 'user', content: 'x'.repeat(4000) }] },
  })
  const { lanes } = await addUpLoad(lines([ask('openai/m'), ask('openai/mystery')]), priced, 100)
  expect(lanes).toMatchObject([
    { usd: 0.003, usdByTier: { flex: 0.0015, batch: 0.0015 } },
    { usd: null, usdByTier: { flex: null, batch: null } },
  ])
  const day = 86_400
  const times = { seconds: 120, backlogSeconds: 30 }
  // Flex falls back to standard after 10 min, and a batch may take a day; a lane without tiers has the one time.
  expect(forecastTiers(lanes[0]!.lane, times)).toEqual({ standard: 150, flex: 750, batch: day })
  expect(forecastTiers(lanes[0]!.lane, { seconds: 2 * day, backlogSeconds: null }).batch).toBe(2 * day)
  expect(forecastTiers({}, times)).toEqual({ standard: 150, flex: 150, batch: 150 })
  expect(forecastTiers({ tiers: { flex: null, batch: null } }, times)).toEqual({
    standard: 150,
    flex: 150,
    batch: 150,
  })
})

test('lanes that share a limit take as long as their loads together, and plan says by which', async () => {
  const family = loadConfig({
    path: 'sluice.yaml',
    env: {},
    text: `
providers:
  sim:
    kind: openai-compatible
    base_url: http://127.0.0.1:1/v1
    limits: { requests_per_minute: 600, headroom: 1 }
    shared_limits: { family: { models: ["opus-*"], requests_per_minute: 60, tokens_per_minute: 1000 } }
    models: { opus-1: {}, opus-2: { limits: { requests_per_minute: 30 } }, other: {} }
`,
  })
  const jobs = ['opus-1', 'opus-1', 'opus-2', 'other'].map((model, index) =>
    chat(`number ${index}`, {}, { model: `sim/${model}` }),
  )
  const { lanes, refused } = await addUpLoad(lines(jobs), family, 100)
  expect(refused.count).toBe(0)
  const forecasts = lanes.map((one) => forecastLane(one, null, lanes))
  expect(forecasts.map(({ seconds, boundBy }) => [seconds, boundBy])).toEqual([
    [3, 'requests of family'],
    [3, 'requests of family'],
    [0.1, 'requests'],
  ])
  const rates = { requests: 30, tokens: null, input_tokens: null, output_tokens: null }
  const rest = { utilisation: 1, in_flight: 0, paused_until: null, paused_reason: null, throttled: 0 }
  const seen = { ...view, shared_limits: [{ name: 'family', rates, speed: 0.5, ...rest }] }
  expect(forecastLane(lanes[0]!, seen, lanes)).toMatchObject({ seconds: 12, boundBy: 'requests of family' })

  const large = chat('a', {}, { model: 'sim/opus-1', max_tokens: 1001 })
  expect((await addUpLoad(lines([large]), family, 100)).refused.count).toBe(1)
  expect(listSharedLimits(family)).toEqual([
    {
      provider: 'sim',
      name: 'family',
      lanes: ['sim/opus-1', 'sim/opus-2'],
      binds: ['sim/opus-1: requests, tokens', 'sim/opus-2: tokens'],
    },
  ])
})

test('pictures and sound are counted with their prices and limits; sound of unknown length is reported', async () => {
  const media = loadConfig({
    path: 'sluice.yaml',
    env: {},
    text: `
providers:
  sim:
    kind: openai-compatible
    base_url: http://127.0.0.1:1/v1
    limits: { headroom: 1 }
    models:
      painter: { price: { input: 0, output: 0, image: 0.04 }, limits: { images_per_minute: 20 } }
      listener: { price: { input: 0, output: 0, audio_second: 0.001 }, limits: { audio_seconds_per_minute: 60 } }
`,
  })
  const picture = (prompt: string, n: number) => ({
    type: 'image',
    body: { model: 'sim/painter', prompt, n },
  })
  const heard = (file: string) => ({ type: 'transcription', body: { model: 'sim/listener', file } })
  const jobs = [picture('a', 10), picture('b', 20), picture('c', 21), heard('file-1'), heard('file-2')]
  const secondsOf = async (file: string) => (file === 'file-1' ? 45 : null)
  const { lanes, refused } = await addUpLoad(lines(jobs), media, 0, secondsOf)
  expect(lanes).toMatchObject([
    { images: 30, usd: 1.2, unheard: 0 },
    { audioSeconds: 45, usd: 0.045, unheard: 0 },
  ])
  expect(refused.examples).toMatchObject([
    { line: 3, reason: expect.stringContaining('needs more at once') },
    { line: 5, reason: expect.stringContaining('file-2') },
  ])
  expect(lanes.map((lane) => forecastLane(lane, null))).toMatchObject([
    { seconds: 90, boundBy: 'images' },
    { seconds: 45, boundBy: 'seconds of sound' },
  ])
  // A server reports both in the members of tokens.
  const seen = { requests: null, tokens: null, input_tokens: 30, output_tokens: 10 }
  expect(lanes.map((lane) => forecastLane(lane, { ...view, rates: seen }))).toMatchObject([
    { seconds: 180, boundBy: 'images' },
    { seconds: 90, boundBy: 'seconds of sound' },
  ])
  const alone = await addUpLoad(lines(jobs), media, 0)
  expect(alone.lanes).toMatchObject([{ unheard: 0 }, { audioSeconds: 0, unheard: 2 }])
})
