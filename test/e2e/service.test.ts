import { Webhook } from 'standardwebhooks'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { toHeaders } from '../../client/events.ts'
import { readEvents as readEventStream } from '../../client/follow-stream.ts'
import { toOpenAnswer } from '../../client/http.ts'
import type { Job } from '../../jobs/job.ts'
import {
  chat,
  createJob,
  getAttempts,
  getJob,
  groupEnded,
  post,
  type Stack,
  startStack,
  waitForJob,
} from '../helpers/stack.ts'
import { startReceiver, WEBHOOK_SECRET } from '../integration/webhooks/receiver.ts'

let stack: Stack
let here = ''
let there = ''

beforeAll(async () => {
  stack = await startStack({
    apis: 2,
    simulator: ['--latency', '100', '--output-tokens', '40', '--per-token', '20'],
    extra: `webhooks: { secret: ${WEBHOOK_SECRET}, allow_private_addresses: true }`,
  })
  ;[here, there] = stack.urls as [string, string]
})

afterAll(async () => {
  expect(await stack?.stop()).toEqual([0, 0, 0, 0])
})

test('a thousand identical jobs, raced over two API processes, cost one call and all complete', async () => {
  const before = await stack.simulator.state()
  const request = chat('the same for all', { group: 'identical' })
  let left = 1000
  const send = async () => {
    while (left-- > 0)
      expect((await post(left % 2 ? here : there, '/v1/jobs', request)).status).toBeLessThan(300)
  }
  await Promise.all(Array.from({ length: 40 }, send))
  const summary = await groupEnded(here, 'identical')
  expect(summary).toMatchObject({ total: 1000, counts: { completed: 1000 } })
  const after = await stack.simulator.state()
  expect(after.calls - before.calls).toBe(1)
  expect(after.billed_calls - before.billed_calls).toBe(1)
})

type Event = { id: string; event: string; data: { seq: number; chunk?: object; job?: Job } }

/** Reads a stream of events until it ends, or until `enough` is true. */
async function readEvents(
  url: string,
  lastEventId = '',
  enough: (events: Event[]) => boolean = () => false,
): Promise<{ status: number; events: Event[] }> {
  const response = await fetch(url, { headers: toHeaders(lastEventId) })
  const events: Event[] = []
  for await (const some of readEventStream(toOpenAnswer(response, 60_000))) {
    for (const { id, type: event, data } of some) events.push({ id, event, data: JSON.parse(data) })
    if (enough(events)) break
  }
  return { status: response.status, events }
}

test('a job submitted at one API process is followed at another, which goes on where a subscriber left', async () => {
  const { id } = await createJob(here, chat('tell me a story', {}, { stream: true }))
  const first = await readEvents(`${there}/v1/jobs/${id}/events`, '', (events) => events.length >= 5)
  const last = first.events.at(-1)!
  expect(last.event).toBe('job.delta')
  const rest = await readEvents(`${here}/v1/jobs/${id}/events`, last.id)
  const all = [...first.events, ...rest.events]
  expect(all.map((event) => event.data.seq)).toEqual(all.map((_, index) => index + 1))
  expect(all.map((event) => event.event).slice(0, 2)).toEqual(['job.queued', 'job.started'])
  expect(rest.events.at(-1)).toMatchObject({ event: 'job.completed', data: { job: { status: 'completed' } } })
  expect(rest.events.at(-1)!.data.job).toEqual(await getJob(there, id))
  const again = await readEvents(`${there}/v1/jobs/${id}/events`, all.at(-1)!.id)
  expect(again).toEqual({ status: 204, events: [] })
})

test('a group is followed to its end on another API process', async () => {
  const requests = ['one', 'two', 'three'].map((text) => chat(text, { group: 'followed' }))
  await Promise.all(requests.map((request) => createJob(here, request)))
  const { events } = await readEvents(`${there}/v1/groups/followed/events`)
  expect(events.filter((event) => event.event === 'job.completed')).toHaveLength(3)
  expect(new Set(events.map((event) => event.id)).size).toBe(events.length)
})

test('cancelling a running job at one API process ends the call that runs in another', async () => {
  const before = await stack.simulator.state()
  const gone = (state: typeof before) => state.by_path['/v1/chat/completions']?.['499'] ?? 0
  const job = await createJob(here, chat('take your time [[fault:slow:ms=60000]]'))
  await expect.poll(async () => (await stack.simulator.state()).in_flight, { timeout: 20_000 }).toBe(1)
  const response = await post(there, `/v1/jobs/${job.id}/cancel`, {})
  expect(((await response.json()) as Job).status).toBe('cancelled')
  await expect
    .poll(async () => gone(await stack.simulator.state()), { timeout: 20_000 })
    .toBe(gone(before) + 1)
  await expect.poll(async () => (await getAttempts(here, job.id))[0]?.outcome).toBe('aborted')
  expect((await post(here, `/v1/jobs/${job.id}/cancel`, {})).status).toBe(409)
})

test('the end of a job is announced with a signature that its receiver can check', async () => {
  const receiver = await startReceiver()
  try {
    const webhook = { url: receiver.url, events: ['job.completed'] }
    const { id } = await createJob(here, chat('announce me', { webhook }))
    await receiver.got(1)
    const [received] = receiver.received
    const headers = received!.headers as Record<string, string>
    const payload = new Webhook(WEBHOOK_SECRET).verify(received!.body, headers)
    expect(payload).toMatchObject({ type: 'job.completed', data: { id, status: 'completed' } })
    expect((payload as { data: Job }).data).toEqual(await waitForJob(here, id))
  } finally {
    await receiver.close()
  }
})
