// Readers of event streams and verifiers of webhooks, unmodified.
import { fetchEventSource } from '@microsoft/fetch-event-source'
import { EventSource } from 'eventsource'
import { Webhook as StandardWebhook } from 'standardwebhooks'
import { Webhook as SvixWebhook } from 'svix'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { chat, createJob, type Stack, startStack, waitForJob } from '../helpers/stack.ts'
import { startReceiver, WEBHOOK_SECRET } from '../integration/webhooks/receiver.ts'

let stack: Stack
beforeAll(async () => {
  stack = await startStack({
    simulator: ['--latency', '50'],
    extra: `webhooks: { secret: "${WEBHOOK_SECRET}", allow_private_addresses: true }`,
  })
})
afterAll(async () => {
  expect(await stack?.stop()).toEqual([0, 0, 0])
})

let texts = 0
const fresh = () => `events ${++texts}`
const streamed = () => createJob(stack.urls[0]!, chat(fresh(), {}, { stream: true }))
type Seen = { id: string; event: string; seq: number }

function expectWhole(seen: Seen[]): void {
  expect(seen[0]!.event).toBe('job.queued')
  expect(seen.at(-1)!.event).toBe('job.completed')
  expect(seen.map(({ seq }) => seq)).toEqual(seen.map((_, index) => index + 1))
}

describe('the events of a job', () => {
  test('are read by eventsource, which goes on after a break and ends at the end', async () => {
    const job = await streamed()
    const seen: Seen[] = []
    const source = new EventSource(`${stack.urls[0]}/v1/jobs/${job.id}/events`)
    const ended = Promise.withResolvers<void>()
    for (const event of ['job.queued', 'job.started', 'job.delta', 'job.completed']) {
      source.addEventListener(event, (message) => {
        seen.push({ id: message.lastEventId, event, seq: JSON.parse(message.data).seq })
      })
    }
    // It connects again after the last event, gets 204, and gives up as the standard says.
    source.addEventListener('error', () => {
      if (source.readyState === EventSource.CLOSED) ended.resolve()
    })
    await ended.promise
    source.close()
    expectWhole(seen)
  })

  test('are read by fetch-event-source, which gets no empty event', async () => {
    // The package is written for browsers; this is all it needs from one.
    const global = globalThis as { window?: unknown; document?: unknown }
    global.window = globalThis
    global.document = { hidden: false, addEventListener() {}, removeEventListener() {} }
    const job = await streamed()
    const seen: Seen[] = []
    let empty = 0
    const stop = new AbortController()
    try {
      await fetchEventSource(`${stack.urls[0]}/v1/jobs/${job.id}/events`, {
        signal: stop.signal,
        openWhenHidden: true,
        fetch,
        onmessage({ id, event, data }) {
          if (data === '') empty++
          else seen.push({ id, event, seq: JSON.parse(data).seq })
        },
        onerror(error) {
          throw error
        },
      })
    } finally {
      delete global.window
      delete global.document
    }
    expectWhole(seen)
    expect(empty).toBe(0)
  })
})

describe('webhooks', () => {
  test.each([
    ['standardwebhooks', () => new StandardWebhook(WEBHOOK_SECRET)],
    ['svix', () => new SvixWebhook(WEBHOOK_SECRET)],
  ])('are verified by %s', async (_name, create) => {
    const receiver = await startReceiver()
    const job = await createJob(stack.urls[0]!, chat(fresh(), { webhook: { url: receiver.url } }))
    await waitForJob(stack.urls[0]!, job.id)
    await receiver.got(1)
    const [received] = receiver.received
    const headers = received!.headers as Record<string, string>
    create().verify(received!.body, headers)
    expect(JSON.parse(received!.body)).toMatchObject({ type: 'job.completed', data: { id: job.id } })
    expect(() => create().verify(`${received!.body} `, headers)).toThrow()
    await receiver.close()
  })
})
