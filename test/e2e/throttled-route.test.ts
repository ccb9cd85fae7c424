import { expect, onTestFinished, test } from 'vitest'
import { chat, createJob, getAttempts, getJob, startStack, waitForJob } from '../helpers/stack.ts'
import { answer, startUpstream } from '../helpers/upstream.ts'

test('a lane that always answers 429, and never says for how long, is left for the next one of the route', async () => {
  const busy = await startUpstream()
  onTestFinished(() => busy.close())
  busy.script = (_call, response) => answer(response, 429, { error: { message: 'slow down', type: 'busy' } })
  const stack = await startStack({
    extra: `
  busy:
    kind: openai-compatible
    base_url: ${busy.url}
    models: { one: {}, two: {} }
routes: { either: [busy/one, sim/chat] }`,
  })
  onTestFinished(async () => expect(await stack.stop()).toEqual([0, 0, 0]))
  const url = stack.urls[0]!

  const alone = await createJob(url, chat('of one lane only', {}, { model: 'busy/two' }))
  const queued = await createJob(url, chat('by a route', {}, { model: 'either' }))
  const done = await waitForJob(url, queued.id)
  expect(done).toMatchObject({ status: 'completed', lane: 'sim/chat' })
  const attempts = await getAttempts(url, queued.id)
  const outcomes = attempts.map((one) => one.outcome)
  expect(outcomes.at(-1)).toBe('completed')
  expect(outcomes.slice(0, -1)).toEqual(outcomes.slice(0, -1).map(() => 'throttled'))
  expect(outcomes.length).toBeLessThanOrEqual(4)

  // A job whose client waits goes straight to a worker, with the same outcome.
  const held = await fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'either', messages: [{ role: 'user', content: 'held' }] }),
    signal: AbortSignal.timeout(40_000),
  })
  expect(held.status).toBe(200)

  const still = await getJob(url, alone.id)
  expect(still).toMatchObject({ status: 'queued', waiting_for: 'provider_pause', attempts: 0 })
})
