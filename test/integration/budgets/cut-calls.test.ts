import { describe, expect, it } from 'vitest'
import { acmeKey } from '../../helpers/api.ts'
import { answer, chunk, completion, openEvents, type Script } from '../../helpers/upstream.ts'
import { openBudgetHouse } from './house.ts'

const price = { input: 1, output: 10 }
/** 100 tokens, at four bytes each. */
const prompt = (name: string) => name.padEnd(400, 'x')
const inputUsd = 100 / 1e6

/** Streams 40 tokens of text, and then does what the test says. */
const streaming =
  (then: (events: ReturnType<typeof openEvents>, response: Parameters<Script>[1]) => void): Script =>
  (_call, response) => {
    const events = openEvents(response)
    for (let piece = 0; piece < 10; piece++) events.send(chunk({ content: 'y'.repeat(16) }))
    setTimeout(() => then(events, response), 50)
  }
const streamedUsd = inputUsd + (40 * 10) / 1e6

async function settledAt(house: Awaited<ReturnType<typeof openBudgetHouse>>, usd: number): Promise<void> {
  await expect
    .poll(() => house.money(), { timeout: 20_000 })
    .toEqual({ spent: Math.round(usd * 1e9) / 1e9, reserved: 0 })
}

describe('a call that was sent and cut off is paid for', () => {
  it('when its client hangs up half-way', async () => {
    const house = await openBudgetHouse({ budget: 1, price })
    house.upstream.script = streaming(() => {})
    const leaving = new AbortController()
    const response = await house.post(
      '/v1/chat/completions',
      {
        model: 'own/chat',
        stream: true,
        max_tokens: 1000,
        messages: [{ role: 'user', content: prompt('a') }],
      },
      leaving.signal,
    )
    const reader = response.body!.getReader()
    let text = ''
    while (text.split('"content"').length < 11) text += new TextDecoder().decode((await reader.read()).value)
    leaving.abort()
    await house.upstream.broken()
    await settledAt(house, streamedUsd)
    const { data } = await house.get<{ data: { id: string }[] }>('/v1/jobs')
    const [job] = data
    expect(job).toMatchObject({ status: 'cancelled', cost_usd: streamedUsd, cost_is_estimate: true })
    expect(await house.attempts(job!.id)).toMatchObject([
      {
        outcome: 'aborted',
        cost_usd: streamedUsd,
        cost_is_estimate: true,
        usage: { input_tokens: 100, output_tokens: 40, total_tokens: 140 },
        usage_is_estimate: true,
      },
    ])
  })

  it('by the usage that the stream had stated so far, if it had', async () => {
    const house = await openBudgetHouse({ budget: 1, price })
    const usage = { prompt_tokens: 77, completion_tokens: 55, total_tokens: 132 }
    house.upstream.script = streaming((events, response) => {
      events.send(chunk({ content: 'z' }, null, { usage }))
      setTimeout(() => response.destroy(), 50)
    })
    const { id } = await house.submit(prompt('b'), { stream: true })
    const job = await house.ended(id)
    const usd = (77 + 550) / 1e6
    expect(job).toMatchObject({ status: 'failed', cost_usd: usd, cost_is_estimate: true })
    await settledAt(house, usd)
  })

  it('by the first event of Anthropic', async () => {
    const house = await openBudgetHouse({ budget: 1, price, kind: 'anthropic' })
    house.upstream.script = (_call, response) => {
      const events = openEvents(response)
      const message = { id: 'msg_1', model: 'm', usage: { input_tokens: 321, output_tokens: 1 } }
      events.send({ type: 'message_start', message })
      events.send({ type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } })
      events.send({
        type: 'content_block_delta',
        index: 0,
        delta: { type: 'text_delta', text: 'y'.repeat(160) },
      })
      setTimeout(() => response.destroy(), 50)
    }
    const job = await house.ended((await house.submit(prompt('c'), { stream: true })).id)
    expect(job).toMatchObject({ status: 'failed', cost_usd: (321 + 400) / 1e6, cost_is_estimate: true })
  })

  it('when the provider breaks it', async () => {
    const house = await openBudgetHouse({ budget: 1, price })
    house.upstream.script = streaming((_events, response) => response.destroy())
    const job = await house.ended((await house.submit(prompt('d'), { stream: true })).id)
    expect(job).toMatchObject({ status: 'failed', cost_usd: streamedUsd, cost_is_estimate: true })
    house.upstream.script = (_call, response) => response.destroy()
    const whole = await house.ended((await house.submit(prompt('e'))).id)
    expect(whole).toMatchObject({ status: 'failed', cost_usd: inputUsd, cost_is_estimate: true })
    await settledAt(house, streamedUsd + inputUsd)
  })

  it('when its time is up: a stream by its pieces, an answer in one piece by its reservation', async () => {
    const house = await openBudgetHouse({ budget: 1, price })
    house.upstream.script = streaming(() => {})
    const streamed = await house.submit(prompt('f'), { stream: true }, { timeout_ms: 1000 })
    expect(await house.ended(streamed.id)).toMatchObject({
      cost_usd: streamedUsd,
      error: { code: 'timeout' },
    })
    house.upstream.script = () => {}
    const whole = await house.submit(prompt('g'), { max_tokens: 200 }, { timeout_ms: 1000 })
    const usd = inputUsd + 2000 / 1e6
    expect(await house.ended(whole.id)).toMatchObject({ cost_usd: usd, cost_is_estimate: true })
    await settledAt(house, streamedUsd + usd)
  })

  it('when it is cancelled or deleted: by its reservation at once, and then by its real cost', async () => {
    const house = await openBudgetHouse({ budget: 1, price })
    for (const [name, end] of [
      ['h', (id: string) => house.post(`/v1/jobs/${id}/cancel`, {})],
      [
        'i',
        (id: string) =>
          fetch(`${house.url}/v1/jobs/${id}`, {
            method: 'DELETE',
            headers: { authorization: `Bearer ${acmeKey}` },
          }),
      ],
    ] as const) {
      const before = (await house.money()).spent
      house.upstream.script = streaming(() => {})
      const { id } = await house.submit(prompt(name), { stream: true, max_tokens: 1000 })
      await expect
        .poll(async () => (await house.redis.lrange(`${house.root}:job:${id}:events`, '0', '-1')).join(''))
        .toContain('job.delta')
      await end(id)
      expect((await house.money()).spent).toBeGreaterThan(before)
      await settledAt(house, before + streamedUsd)
    }
  })

  it('but not when it was refused, or never sent', async () => {
    const house = await openBudgetHouse({ budget: 1, price })
    for (const status of [400, 401, 429, 500, 503]) {
      house.upstream.script = (_call, response) => answer(response, status, { error: { message: 'no' } })
      const { id } = await house.submit(`refused ${status}`, {}, { deadline: undefined })
      if (status === 429) await house.post(`/v1/jobs/${id}/cancel`, {})
      await house.ended(id)
    }
    await settledAt(house, 0)
    await house.upstream.close()
    expect(await house.ended((await house.submit('nobody there')).id)).toMatchObject({
      status: 'failed',
      cost_usd: null,
      cost_is_estimate: false,
    })
    await settledAt(house, 0)
  })

  it('and adds to the cost of a job that is answered in the end', async () => {
    const house = await openBudgetHouse({
      budget: 1,
      price,
      provider: { retry: { max_attempts: 2, base: '1ms' } },
    })
    let calls = 0
    house.upstream.script = (call, response) => {
      if (calls++ === 0) return streaming((_events, stream) => stream.destroy())(call, response)
      const events = openEvents(response)
      events.send(chunk({ content: 'hi' }, 'stop', { usage: { prompt_tokens: 100, completion_tokens: 1 } }))
      events.send('[DONE]')
      events.end()
    }
    const job = await house.ended((await house.submit(prompt('j'), { stream: true }, { group: 'pair' })).id)
    const usd = Math.round((streamedUsd + 110 / 1e6) * 1e9) / 1e9
    expect(job).toMatchObject({ status: 'completed', attempts: 2, cost_usd: usd, cost_is_estimate: true })
    expect(await house.get('/v1/groups/pair')).toMatchObject({ cost_usd: usd })
    await settledAt(house, usd)
  })
})

describe('an answer without usage is not free', () => {
  const bodies = [
    ['none', { usage: undefined }, 100, 5, true],
    ['zeros', { usage: { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 } }, 100, 5, true],
    ['in a choice', { usage: undefined, choices: undefined }, 3, 4, false],
  ] as const
  it.each(bodies)('%s', async (name, members, input, output, isEstimate) => {
    const house = await openBudgetHouse({ budget: 1, price })
    const own = { prompt_tokens: 3, completion_tokens: 4, total_tokens: 7 }
    const whole = completion('y'.repeat(20), {}, members.usage === undefined ? {} : { usage: members.usage })
    if (members.usage === undefined) delete whole.usage
    if (name === 'in a choice')
      whole.choices = (whole.choices as object[]).map((choice) => ({ ...choice, usage: own }))
    house.upstream.script = (_call, response) => answer(response, 200, whole)
    const job = await house.ended((await house.submit(prompt('k'))).id)
    const usd = Math.round(input * 1000 + output * 10_000) / 1e9
    expect(job).toMatchObject({
      status: 'completed',
      usage: { input_tokens: input, output_tokens: output, total_tokens: input + output },
      usage_is_estimate: isEstimate,
      cost_usd: usd,
      cost_is_estimate: isEstimate,
    })
    await settledAt(house, usd)
    // A kept answer says so as well, and costs nothing.
    expect(await house.submit(prompt('k'))).toMatchObject({
      cache: 'hit',
      cost_usd: 0,
      cost_is_estimate: false,
      usage_is_estimate: isEstimate,
    })
  })

  it.each([
    ['a total alone', { total_tokens: 9 }, 9, false],
    ['none', undefined, 2, true],
  ])('for embeddings: %s', async (_, usage, tokens, isEstimate) => {
    const house = await openBudgetHouse({ budget: 1, price })
    house.upstream.script = (_call, response) =>
      answer(response, 200, {
        object: 'list',
        data: [{ index: 0, embedding: 'AACAPw==' }],
        ...(usage ? { usage } : {}),
      })
    const made = await house.post('/v1/jobs', {
      type: 'embedding',
      body: { model: 'own/chat', input: 'x'.repeat(8) },
    })
    const job = await house.ended(((await made.json()) as { id: string }).id)
    expect(job).toMatchObject({
      status: 'completed',
      usage: { input_tokens: tokens, output_tokens: 0 },
      cost_usd: tokens / 1e6,
      cost_is_estimate: isEstimate,
    })
  })
})
