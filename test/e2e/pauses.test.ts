import { expect, onTestFinished, test } from 'vitest'
import type { LaneView } from '../../api/lanes/lanes.ts'
import { chat, createJob, get, getJob, post, startStack, waitForJob } from '../helpers/stack.ts'

test('a lane that is resumed runs what its pause had put off, and lets later jobs wait', async () => {
  const stack = await startStack({ extra: 'routes: { fast: [sim/chat, sim/embed] }' })
  onTestFinished(async () => expect(await stack.stop()).toEqual([0, 0, 0]))
  const url = stack.urls[0]!
  const lane = () => get<LaneView>(url, '/v1/lanes/sim/chat')

  // Until an operator resumes it. The lane has a successor, but not for jobs that name the lane itself.
  expect((await post(url, '/v1/lanes/sim/chat/pause', {})).status).toBe(200)
  const jobs = [await createJob(url, chat('one')), await createJob(url, chat('two'))]
  const later = await createJob(url, chat('later', { delay_ms: 3_600_000 }))
  await expect.poll(async () => (await lane()).backlog, { timeout: 10_000 }).toMatchObject({ delayed: 3 })
  expect(await getJob(url, jobs[0]!.id)).toMatchObject({
    status: 'queued',
    waiting_for: 'provider_pause',
    estimated_start_at: null,
  })

  expect((await fetch(`${url}/v1/lanes/sim/chat/resume`, { method: 'POST' })).status).toBe(200)
  for (const { id } of jobs) expect((await waitForJob(url, id)).status).toBe('completed')
  expect((await lane()).backlog).toMatchObject({ waiting: 0, delayed: 1 })
  expect((await getJob(url, later.id)).status).toBe('scheduled')
})
