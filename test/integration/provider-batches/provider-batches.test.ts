import { expect, onTestFinished, test } from 'vitest'
import { closeRedis, createRedis } from '../../../lib/redis.ts'
import { opsKey } from '../../helpers/api.ts'
import { dumpRedis } from '../../helpers/dump.ts'
import { testKeys } from '../../helpers/encryption.ts'
import { type BatchHouse, key, openBatchHouse } from './house.ts'

/** So many seconds from now. */
const soon = (seconds: number) => new Date(Date.now() + seconds * 1000).toISOString()

test('jobs that may wait share a batch at half the price, and end like jobs with calls', async () => {
  const house = await openBatchHouse({ batches: { turnaroundMs: 200 } })
  const ids = await Promise.all(
    ['one', 'two', 'three'].map((prompt) => house.submit(prompt, { group: 'night' })),
  )
  const waiting = await house.job(ids[0]!)
  expect(waiting).toMatchObject({ status: 'queued', waiting_for: 'provider_batch', tier: 'batch' })
  await house.until(async () => (await house.job(ids[0]!)).status === 'running')
  const jobs = await Promise.all(ids.map(house.ended))
  for (const job of jobs) {
    expect(job).toMatchObject({ status: 'completed', served_tier: 'batch', cache: 'miss', attempts: 1 })
    const { input_tokens: input, output_tokens: output } = job.usage!
    expect(job.cost_usd).toBeCloseTo((input * 0.5 + output * 1) / 1e6, 9)
  }
  expect(await house.attempts(ids[0]!)).toMatchObject([{ outcome: 'completed', served_tier: 'batch' }])
  expect(house.simulator.batches.batches()).toMatchObject([{ lines: 3, phase: 'completed' }])
  expect(house.bought()).toEqual([1, 1, 1])
  await house.until(() => house.simulator.batches.files().length === 0)

  const listed = await house.service.call<{ data: object[] }>('GET', '/v1/provider-batches', { key: opsKey })
  expect(listed.body.data).toMatchObject([
    { lane: 'up/chat', state: 'ended', outcome: 'completed', lines: { total: 3, completed: 3 } },
  ])
  expect((await house.service.call('GET', '/v1/provider-batches', { key })).status).toBe(403)

  // A kept answer is given at once.
  const again = await house.submit('one')
  expect(await house.job(again)).toMatchObject({ status: 'completed', cache: 'hit' })
})

test('a line that a batch does not do goes on: in another batch, in a call, or it fails as a call would', async () => {
  const house = await openBatchHouse()
  const kinds = ['lost_line', 'zero_line', 'null_line', 'expired_line', '500', '429']
  const undone = await Promise.all(kinds.map((kind) => house.submit(`${kind} [[fault:${kind}:times=1]]`)))
  const never = await house.submit('never [[fault:lost_line]]')
  const refused = await house.submit('refused [[fault:400]]')
  for (const id of [...undone, never]) expect((await house.ended(id)).status).toBe('completed')
  // A line that two batches did not do gets a call.
  expect((await house.ended(never)).served_tier).toBe('standard')
  expect(await house.ended(refused)).toMatchObject({ status: 'failed', error: { provider_status: 400 } })
  expect(house.bought()).toEqual(kinds.map(() => 1).concat(1))
})

test('an equal job that does not wait is bought at once, and ends both', async () => {
  const house = await openBatchHouse({ batches: { turnaroundMs: 1e9 } })
  const sent = await house.submit('equal')
  await house.until(async () => (await house.job(sent)).status === 'running')
  const urgent = await house.submit('equal', { tier: 'standard' })
  expect(await house.ended(urgent)).toMatchObject({ status: 'completed', cache: 'miss' })
  expect(await house.ended(sent)).toMatchObject({ status: 'completed', cache: 'shared', cost_usd: 0 })
  // No job needs the batch any more.
  await house.until(() => house.simulator.batches.batches()[0]!.phase === 'cancelled')

  const waiting = await house.submit('later', {}, { seed: 1 })
  const other = await house.submit('later', { tier: 'standard' }, { seed: 1 })
  expect((await house.ended(other)).status).toBe('completed')
  expect((await house.ended(waiting)).status).toBe('completed')
  expect(house.bought()).toEqual([1, 1])
})

test('an equal job that does not wait for flex is bought at once, and ends both', async () => {
  const house = await openBatchHouse({ flex: true })
  // One waits until there is capacity, another is under way.
  house.simulator.setFaults([
    { kind: 'flex_unavailable', match: 'no room' },
    { kind: 'slow', ms: 700, times: 1, match: 'under way' },
  ])
  const refused = await house.submit('no room', { tier: 'flex' })
  const sent = await house.submit('under way', { tier: 'auto', deadline: soon(60) })
  await house.until(async () => (await house.job(sent)).status === 'running')
  await house.until(async () => (await house.attempts(refused)).length > 0)
  house.simulator.setFaults([])
  const urgent = await Promise.all(
    ['no room', 'under way'].map((prompt) => house.submit(prompt, { tier: 'standard' })),
  )
  for (const id of urgent) {
    expect(await house.ended(id)).toMatchObject({ cache: 'miss', served_tier: 'standard' })
  }
  for (const id of [refused, sent]) {
    expect(await house.ended(id)).toMatchObject({ status: 'completed', cache: 'shared' })
  }
  // The call that was under way is paid for as well, and booked.
  await house.until(async () => (await house.attempts(sent))[0]?.outcome === 'completed')
  expect((await house.attempts(sent))[0]!.cost_usd).toBeGreaterThan(0)
  expect(house.bought().sort()).toEqual([1, 2])

  // A job that waits as long comes along.
  house.simulator.setFaults([{ kind: 'slow', ms: 300, times: 1, match: 'together' }])
  const first = await house.submit('together', { tier: 'flex' })
  await house.until(async () => (await house.job(first)).status === 'running')
  const second = await house.submit('together', { tier: 'auto' })
  expect(await house.ended(second)).toMatchObject({ cache: 'shared', served_tier: 'flex' })
})

test('a job in a batch makes way for an equal one that has to leave sooner', async () => {
  const house = await openBatchHouse({ batches: { turnaroundMs: 1e9 }, tier: { leave_before: '58s' } })
  const late = await house.submit('equal', { deadline: soon(600) })
  await house.until(async () => (await house.job(late)).status === 'running')
  const early = await house.submit('equal', { deadline: soon(60) })
  expect(await house.ended(early)).toMatchObject({ status: 'completed', served_tier: 'standard' })
  expect(await house.ended(late)).toMatchObject({ status: 'completed', cache: 'shared' })
})

test('jobs of tier auto go at flex where there is no time for a batch, and at standard in time', async () => {
  const house = await openBatchHouse({ flex: true })
  const called = await house.ended(await house.submit('a', { tier: 'auto', deadline: soon(60) }))
  expect(called).toMatchObject({ status: 'completed', tier: 'auto', served_tier: 'flex' })
  // There is no capacity, then too slow an answer: both go on in time, and that is not an attempt.
  house.simulator.setFaults([
    { kind: 'flex_unavailable', match: 'no room', times: 1 },
    { kind: 'slow', ms: 20_000, match: 'too slow', times: 1 },
  ])
  const ids = await Promise.all(
    ['no room', 'too slow'].map((prompt) =>
      house.submit(prompt, { tier: 'auto', deadline: soon(2), timeout_ms: 1000, max_attempts: 1 }),
    ),
  )
  const jobs = await Promise.all(ids.map(house.ended))
  for (const job of jobs) {
    expect(job).toMatchObject({ status: 'completed', attempts: 1 })
    expect(Date.parse(job.finished_at!)).toBeLessThan(Date.parse(job.deadline!))
  }
  expect(await house.attempts(ids[1]!)).toMatchObject([
    { tier: 'flex', outcome: 'timeout' },
    { tier: 'standard', outcome: 'completed', served_tier: 'standard' },
  ])
})

test('an urgent job that fails leaves the equal one in a batch its chance', async () => {
  const house = await openBatchHouse({ batches: { turnaroundMs: 1e9 } })
  const sent = await house.submit('equal')
  await house.until(async () => (await house.job(sent)).status === 'running')
  house.simulator.setFaults([{ kind: '400', path: '/v1/chat/completions' }])
  const urgent = await house.submit('equal', { tier: 'standard' })
  expect((await house.ended(urgent)).status).toBe('failed')
  expect((await house.job(sent)).status).toBe('running')
  await house.until(() => isUnderWay(house))
  house.simulator.batches.endAll('complete')
  expect(await house.ended(sent)).toMatchObject({ status: 'completed', served_tier: 'batch' })
})

test('a batch whose job was cancelled answers the job that follows it', async () => {
  const house = await openBatchHouse({ batches: { turnaroundMs: 1e9 } })
  const [first, other] = [await house.submit('equal'), await house.submit('another')]
  for (const id of [first, other]) await house.until(async () => (await house.job(id)).status === 'running')
  await house.until(() => isUnderWay(house, 2))
  const follower = await house.submit('equal')
  await house.service.call('POST', `/v1/jobs/${first}/cancel`, { key })
  house.simulator.batches.endAll('complete')
  expect(await house.ended(follower)).toMatchObject({ status: 'completed', cache: 'shared' })
  expect(house.bought()).toEqual([1, 1])
})

test('cancelled and deleted jobs give up their answers, and a batch that no job needs is cancelled', async () => {
  const house = await openBatchHouse({ batches: { turnaroundMs: 1e9 } })
  const ids = await Promise.all(['a', 'b', 'c'].map((prompt) => house.submit(prompt)))
  for (const id of ids) await house.until(async () => (await house.job(id)).status === 'running')
  await house.service.call('POST', `/v1/jobs/${ids[0]}/cancel`, { key })
  await house.service.call('DELETE', `/v1/jobs/${ids[1]}`, { key })
  await new Promise((resolve) => setTimeout(resolve, 400))
  expect(house.simulator.batches.batches()[0]!.phase).toBe('in_progress')
  await house.service.call('POST', `/v1/jobs/${ids[2]}/cancel`, { key })
  await house.until(() => house.simulator.batches.batches()[0]!.phase === 'cancelled')
  expect((await house.job(ids[0]!)).status).toBe('cancelled')
  expect((await house.service.call('GET', `/v1/jobs/${ids[1]}`, { key })).status).toBe(404)
  await house.until(() => house.simulator.batches.files().length === 0)
})

test('a full queue of the provider means later, and a lost answer to the creation makes no second batch', async () => {
  const house = await openBatchHouse({ batches: { maxQueuedTokens: 1 } })
  const id = await house.submit('one prompt of some length')
  await house.until(() => house.simulator.batches.batches()[0]?.phase === 'failed')
  house.simulator.batches.set({ maxQueuedTokens: null })
  expect(await house.ended(id)).toMatchObject({ status: 'completed', served_tier: 'batch', attempts: 1 })

  house.simulator.setFaults([{ kind: 'reset_after', path: 'POST /v1/batches', times: 1 }])
  const lost = await house.submit('two')
  expect(await house.ended(lost)).toMatchObject({ status: 'completed', served_tier: 'batch', attempts: 1 })
  expect(house.simulator.batches.batches()).toHaveLength(3)
  expect(house.bought()).toEqual([1, 1])
})

test('jobs leave for calls before their deadlines, and the batch keeps its answers', async () => {
  const house = await openBatchHouse({ batches: { turnaroundMs: 3000 }, tier: { leave_before: '58s' } })
  const deadline = new Date(Date.now() + 60_000).toISOString()
  const ids = await Promise.all(['a', 'b', 'c', 'd'].map((prompt) => house.submit(prompt, { deadline })))
  const jobs = await Promise.all(ids.map(house.ended))
  expect(jobs.map(({ status }) => status)).toEqual(['completed', 'completed', 'completed', 'completed'])
  const served = jobs.filter((job) => job.served_tier === 'batch').length
  expect(served).toBeGreaterThan(0)
  expect(served).toBeLessThan(4)
  expect(house.bought()).toEqual([1, 1, 1, 1])
  // There is no time for a batch: the cheapest way that meets the deadline is a call.
  const soon = new Date(Date.now() + 10_000).toISOString()
  const called = await house.ended(await house.submit('e', { deadline: soon, tier: 'auto' }))
  expect(called).toMatchObject({ status: 'completed', tier: 'auto' })
  expect(called.served_tier).toBe('standard')
  const stream = await house.ended(await house.submit('f', { tier: 'auto' }, { stream: true }))
  expect(stream.served_tier).toBe('standard')
})

test('a line that was not done leaves by a faster way before its deadline, or else its job fails by name', async () => {
  // No further batch could be gathered in time.
  const house = await openBatchHouse({ tier: { gather: '500ms', leave_before: '59s' } })
  const ills = ['lost_line', 'zero_line', 'null_line', 'expired_line', '500', '429']
  const ids = await Promise.all(
    ills.map((ill) => house.submit(`${ill} [[fault:${ill}:times=1]]`, { deadline: soon(60) })),
  )
  for (const [at, id] of ids.entries()) {
    const job = await house.ended(id)
    expect([ills[at], job.status, job.served_tier]).toEqual([ills[at], 'completed', 'standard'])
    expect(Date.parse(job.finished_at!)).toBeLessThan(Date.parse(job.deadline!))
  }
  expect(house.bought()).toEqual(ills.map(() => 1))

  // Neither the batch nor a call can answer in time.
  const slow = await openBatchHouse({ batches: { turnaroundMs: 1e9 }, tier: { leave_before: '1800ms' } })
  await slow.service.call('POST', '/v1/lanes/up%2Fchat/pause', { key: opsKey })
  const failed = await slow.ended(await slow.submit('never', { deadline: soon(2) }))
  expect(failed).toMatchObject({ status: 'failed', error: { code: 'deadline_exceeded' } })
  expect(slow.bought()).toEqual([])
})

/** Whether the provider works on so many lines, in one batch or in several. */
const isUnderWay = (house: BatchHouse, lines = 1) =>
  house.simulator.batches
    .batches()
    .filter(({ phase }) => phase === 'in_progress')
    .reduce((sum, batch) => sum + batch.lines, 0) >= lines

test.each([
  // Into another batch once, and then as calls.
  ['expires', 2, (house: BatchHouse) => house.simulator.batches.endAll('expire')],
  ['is lost', 1, (house: BatchHouse) => house.simulator.batches.reset()],
] as const)(
  'jobs of a batch that %s as a whole are called before their deadlines',
  async (_, times, strike) => {
    const house = await openBatchHouse({ batches: { turnaroundMs: 1e9 }, tier: { max_lines: 3 } })
    const deadline = soon(2 * 3600)
    const ids = await Promise.all(['a', 'b', 'c'].map((prompt) => house.submit(prompt, { deadline })))
    for (let at = 0; at < times; at++) {
      await house.until(() => isUnderWay(house, ids.length))
      strike(house)
    }
    for (const job of await Promise.all(ids.map(house.ended)))
      expect(job).toMatchObject({ status: 'completed', served_tier: 'standard' })
    expect(house.bought()).toEqual([1, 1, 1])
    await house.until(() => house.simulator.batches.files().length === 0)
  },
)

test('when the queue of the provider has little room, jobs that have to leave first go first', async () => {
  const house = await openBatchHouse({ batches: { turnaroundMs: 1e9 }, tier: { max_queued_tokens: 180 } })
  // Of some 100 tokens each, so one at a time.
  const submit = (name: string, members = {}) => house.submit(name.padEnd(400, 'x'), members)
  const first = await submit('first')
  await house.until(() => isUnderWay(house))
  const [whenever, tomorrow, today] = [
    await submit('whenever'),
    await submit('tomorrow', { deadline: soon(30 * 3600) }),
    await submit('today', { deadline: soon(3 * 3600) }),
  ]
  // All have been gathered for long enough.
  await new Promise((resolve) => setTimeout(resolve, 200))
  const ended: string[] = []
  while (ended.length < 4) {
    await house.until(() => isUnderWay(house))
    house.simulator.batches.endAll('complete')
    const [id] = await house.until(async () => {
      const left = [first, whenever, tomorrow, today].filter((one) => !ended.includes(one))
      const jobs = await Promise.all(left.map(house.job))
      const found = jobs.filter(({ status }) => status === 'completed').map((job) => job.id)
      return found.length > 0 && found
    })
    ended.push(id!)
  }
  expect(ended).toEqual([first, today, tomorrow, whenever])
})

test('data that a provider keeps of a batch is deleted in the end, though it refuses that at first', async () => {
  const house = await openBatchHouse()
  house.simulator.setFaults([{ kind: '500', path: 'DELETE /v1/files', times: 3 }])
  expect(await house.ended(await house.submit('one'))).toMatchObject({
    status: 'completed',
    served_tier: 'batch',
  })
  await house.until(() => house.simulator.batches.files().length === 0)
})

test.each(['anthropic', 'gemini', 'azure-openai'] as const)('the batches of %s', async (kind) => {
  const house = await openBatchHouse({ kind, batches: { pageSize: 2, nullLists: true } })
  house.simulator.setFaults([{ kind: 'truncated_stream', path: 'content', times: 2 }])
  const ids = await Promise.all(['a', 'b', 'c [[fault:400]]'].map((prompt) => house.submit(prompt)))
  const jobs = await Promise.all(ids.map(house.ended))
  expect(jobs.map(({ status }) => status)).toEqual(['completed', 'completed', 'failed'])
  expect(jobs[0]!.result).toMatchObject({
    object: 'chat.completion',
    choices: [{ message: { role: 'assistant' } }],
  })
  expect(jobs[0]).toMatchObject({ served_tier: 'batch' })
  house.simulator.setFaults([
    {
      kind: 'reset_after',
      path: kind === 'anthropic' ? 'POST /v1/messages/batches' : 'POST /v1/batches',
      times: 1,
    },
  ])
  expect(await house.ended(await house.submit('lost'))).toMatchObject({
    status: 'completed',
    served_tier: 'batch',
    attempts: 1,
  })
  expect(house.bought()).toEqual([1, 1, 1])
})

test('with encryption no request and no answer of a batch is readable in Redis, at any time', async () => {
  const house = await openBatchHouse({ encryption: testKeys, batches: { turnaroundMs: 1e9 } })
  const redis = createRedis({ ...house.place, role: 'commands', name: 'test-reader' })
  onTestFinished(() => closeRedis(redis))
  const canary = 'a-canary-in-the-batch'
  const ids = await Promise.all(
    [canary, `${canary} refused [[fault:400]]`].map((prompt) => house.submit(prompt, { cache: 'off' })),
  )
  const expectUnread = async () => {
    const { plain, unpacked } = await dumpRedis(redis, house.place.prefix)
    expect(plain).toContain(ids[0])
    for (const text of [canary, 'Invalid request']) expect(`${plain} ${unpacked}`).not.toContain(text)
  }
  await expectUnread()
  for (const id of ids) await house.until(async () => (await house.job(id)).status === 'running')
  await expectUnread()
  await house.until(() => isUnderWay(house))
  house.simulator.batches.endAll('complete')
  const [answered, refused] = await Promise.all(ids.map(house.ended))
  expect([answered!.status, refused!.error?.message]).toEqual([
    'completed',
    expect.stringContaining('Invalid'),
  ])
  await expectUnread()
})

test('embeddings and responses go in batches of their own', async () => {
  const house = await openBatchHouse()
  const make = async (job: object) => (await house.service.submit({ tier: 'batch', ...job }, key)).body.id
  const embedding = await make({
    type: 'embedding',
    body: { model: 'up/embed', input: ['x', 'y'], dimensions: 4 },
  })
  const response = await make({ type: 'response', body: { model: 'up/chat', input: 'hello' } })
  const chat = await house.submit('hello')
  const vectors = (await house.ended(embedding)).result as { data: { embedding: number[] }[] }
  expect(vectors.data.map((one) => one.embedding.length)).toEqual([4, 4])
  expect((await house.ended(response)).result).toMatchObject({ object: 'response', status: 'completed' })
  expect((await house.ended(chat)).served_tier).toBe('batch')
  expect(house.simulator.batches.batches()).toHaveLength(3)
})
