import { expect, test } from 'vitest'
import type { PassingAnswer } from '../../helpers/altering-proxy.ts'
import { type BatchHouse, key, openBatchHouse } from './house.ts'

const isResults = ({ request }: PassingAnswer) => request.endsWith('/content')
const linesOf = (text: string) => text.split('\n').filter((line) => line !== '')
const nameOf = (line: string) => (JSON.parse(line) as { custom_id: string }).custom_id
const undone = (line: string) =>
  JSON.stringify({ custom_id: nameOf(line), response: null, error: { code: 'batch_expired', message: 'm' } })

const withoutUsage = (line: string) =>
  JSON.stringify(JSON.parse(line), (name, value) => (name === 'usage' ? null : value))

/** Submits some jobs, and resolves with them once they have ended. */
async function runJobs(house: BatchHouse, prompts: string[], members = {}) {
  const ids = await Promise.all(prompts.map((prompt) => house.submit(prompt, members)))
  return Promise.all(ids.map(house.ended))
}

test.each<[string, (lines: string[]) => string[]]>([
  ['has each line twice, the last first', (lines) => [...lines, ...lines].reverse()],
  ['says that each line was not done before it has its answer', (lines) => [...lines.map(undone), ...lines]],
  [
    'says that each line failed for a while before it has its answer',
    (lines) => [
      ...lines.map((line) =>
        JSON.stringify({ custom_id: nameOf(line), response: { status_code: 503, body: {} }, error: null }),
      ),
      ...lines,
    ],
  ],
  [
    'has lines of others, and some that are no JSON',
    (lines) => [
      '{"custom_id":',
      '{"custom_id":"pbatch_other-0","response":{"status_code":200,"body":{}}}',
      '[]',
      ...lines,
      '{"custom_id":null}',
      'EOF',
    ],
  ],
])('each line is bought once where the file of results %s', async (_, change) => {
  const house = await openBatchHouse({
    alter(answer) {
      if (isResults(answer)) answer.text = change(linesOf(answer.text)).join('\n')
    },
  })
  for (const job of await runJobs(house, ['a', 'b', 'c']))
    expect(job).toMatchObject({ status: 'completed', served_tier: 'batch', attempts: 1 })
  expect(house.bought()).toEqual([1, 1, 1])
})

test('a file of results that is not whole yet is read again; lines that stay lost are called, flagged and booked', async () => {
  let cuts = 2
  let readMs = 400
  const house = await openBatchHouse({
    budget: 10,
    async alter(answer) {
      if (!isResults(answer) || cuts-- <= 0) return
      answer.text = answer.text.slice(0, answer.text.length - 40)
      // Ten polls are over before it was read twice.
      await new Promise((resolve) => setTimeout(resolve, readMs))
    },
  })
  for (const job of await runJobs(house, ['a', 'b']))
    expect(job).toMatchObject({ status: 'completed', served_tier: 'batch', attempts: 1 })
  expect(house.bought()).toEqual([1, 1])

  cuts = Number.POSITIVE_INFINITY
  readMs = 0
  const jobs = await runJobs(house, ['c', 'd'], { cache: 'off' })
  const lost = jobs.find((job) => job.served_tier === 'standard')
  const kept = jobs.find((job) => job !== lost)
  expect(kept).toMatchObject({ status: 'completed', served_tier: 'batch' })
  expect(lost).toMatchObject({ status: 'completed', served_tier: 'standard', cost_is_estimate: true })
  const attempts = await house.attempts(lost!.id)
  expect(attempts).toMatchObject([
    { outcome: 'aborted', error_code: 'results_incomplete', ambiguous: true },
    { outcome: 'completed', ambiguous: false },
  ])
  expect(attempts[0]!.cost_usd).toBeGreaterThan(0)
  expect(lost!.cost_usd).toBeCloseTo(attempts[0]!.cost_usd! + attempts[1]!.cost_usd!, 9)
})

test.each<[string, (house: BatchHouse) => void, ((answer: PassingAnswer) => void)?]>([
  [
    'answers the creation without an id',
    () => {},
    (answer) => {
      if (answer.request === 'POST /v1/batches') answer.text = '{"object":"batch"}'
    },
  ],
  ...(['403', '429', '500'] as const).map((kind): [string, (house: BatchHouse) => void] => [
    `loses the answer to the creation, and answers ${kind} to the search`,
    (house) =>
      house.simulator.setFaults([
        { kind: 'reset_after', path: 'POST /v1/batches', times: 1 },
        { kind, path: 'GET /v1/batches', times: 1 },
      ]),
  ]),
  [
    'does not know a new batch at first',
    (house) => house.simulator.setFaults([{ kind: '404', path: 'GET /v1/batches', times: 5 }]),
  ],
])('a batch is bought once where its provider %s', async (_, strike, alter) => {
  const house = await openBatchHouse(alter === undefined ? {} : { alter })
  strike(house)
  for (const job of await runJobs(house, ['a', 'b']))
    expect(job).toMatchObject({ status: 'completed', served_tier: 'batch', attempts: 1 })
  expect(house.simulator.batches.batches()).toHaveLength(1)
  expect(house.bought()).toEqual([1, 1])
})

test('a batch whose provider lists none is lost in the end, and its jobs are called', async () => {
  const house = await openBatchHouse()
  house.simulator.setFaults([
    { kind: 'reset_before', path: 'POST /v1/batches', times: 1 },
    { kind: '403', path: 'GET /v1/batches' },
  ])
  const [job] = await runJobs(house, ['a'])
  expect(job).toMatchObject({ status: 'completed', served_tier: 'standard' })
  expect(await house.attempts(job!.id)).toMatchObject([{ error_code: 'batch_lost', ambiguous: true }, {}])
})

test('a cancelled job costs its line, also if the answer states no usage', async () => {
  const house = await openBatchHouse({
    batches: { turnaroundMs: 1e9 },
    alter(answer) {
      if (isResults(answer)) answer.text = linesOf(answer.text).map(withoutUsage).join('\n')
    },
  })
  const [id, other] = [await house.submit('a'), await house.submit('b')]
  await house.until(() => house.simulator.batches.batches()[0]?.phase === 'in_progress')
  await house.service.call('POST', `/v1/jobs/${id}/cancel`, { key })
  house.simulator.batches.endAll('complete')
  expect(await house.ended(other)).toMatchObject({ served_tier: 'batch', cost_is_estimate: true })
  const ended = await house.until(async () => {
    const job = await house.job(id)
    return (job.cost_usd ?? 0) > 0 && job
  })
  expect(ended).toMatchObject({ status: 'cancelled', cost_is_estimate: true })
})

test('a batch that the provider does not know at times is not lost', async () => {
  let polls = 0
  const house = await openBatchHouse({
    batches: { turnaroundMs: 1e9 },
    alter(answer) {
      if (/^GET \/v1\/batches\/[^/]+$/.test(answer.request) && polls++ % 2 === 1) answer.status = 404
    },
  })
  const id = await house.submit('a')
  await house.until(() => polls > 26)
  house.simulator.batches.endAll('complete')
  expect(await house.ended(id)).toMatchObject({ served_tier: 'batch', attempts: 1 })
  expect(house.bought()).toEqual([1])
})

test('a cancelled job keeps the estimate of its line where the batch is lost', async () => {
  const house = await openBatchHouse({ batches: { turnaroundMs: 1e9 } })
  const [id, other] = [await house.submit('a'), await house.submit('b')]
  await house.until(() => house.simulator.batches.batches()[0]?.phase === 'in_progress')
  await house.service.call('POST', `/v1/jobs/${id}/cancel`, { key })
  const { cost_usd } = await house.job(id)
  expect(cost_usd).toBeGreaterThan(0)
  house.simulator.setFaults([{ kind: '404', path: 'GET /v1/batches' }])
  expect(await house.ended(other)).toMatchObject({ served_tier: 'standard' })
  const [attempt] = await house.until(async () => {
    const attempts = await house.attempts(id)
    return attempts[0]!.ambiguous && attempts
  })
  expect(attempt).toMatchObject({ error_code: 'batch_lost', cost_usd, cost_is_estimate: true })
  expect(await house.job(id)).toMatchObject({ status: 'cancelled', cost_usd, cost_is_estimate: true })
})

test('a cancellation that the provider did not take is asked for again', async () => {
  const house = await openBatchHouse({ batches: { turnaroundMs: 1e9 } })
  const id = await house.submit('a')
  await house.until(() => house.simulator.batches.batches()[0]?.phase === 'in_progress')
  house.simulator.setFaults([{ kind: '500', path: 'POST /v1/batches', times: 2 }])
  await house.service.call('POST', `/v1/jobs/${id}/cancel`, { key })
  await house.until(() => house.simulator.batches.batches()[0]!.phase === 'cancelled')
})

test('the batches of a lane that were turned off end as they would have, and no more are made', async () => {
  const house = await openBatchHouse({ batches: { turnaroundMs: 1e9 } })
  const sent = await house.submit('a')
  await house.until(() => house.simulator.batches.batches()[0]?.phase === 'in_progress')
  await house.restart({ tiers: { batch: 'off' } }, () => house.simulator.batches.endAll('complete'))
  const gathered = await house.submit('b')
  expect(await house.ended(gathered)).toMatchObject({ status: 'completed', served_tier: 'standard' })
  expect(await house.ended(sent)).toMatchObject({ status: 'completed', served_tier: 'batch' })
  expect(house.bought()).toEqual([1, 1])
})
