import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { encodeEvents, formatEvent } from '../../../api/sse.ts'
import type { JobEvent } from '../../../jobs/job.ts'

const event = (seq: number): JobEvent => ({
  cursor: `${seq}-0`,
  event: 'job.queued',
  data: { job_id: 'job_1', seq, at: '2026-11-23T12:00:00.000Z', text: 'two\nlines' },
})

async function collect(texts: AsyncIterable<string>): Promise<string[]> {
  const all: string[] = []
  for await (const text of texts) all.push(text)
  return all
}

it('writes an event as id, event and one line of data', () => {
  expect(formatEvent(event(3))).toBe(
    'id: 3-0\nevent: job.queued\n' +
      'data: {"job_id":"job_1","seq":3,"at":"2026-11-23T12:00:00.000Z","text":"two\\nlines"}\n\n',
  )
})

it('ends with its source', async () => {
  async function* source() {
    yield event(1)
    yield event(2)
  }
  const texts = await collect(
    encodeEvents(source(), { heartbeat: 1000, signal: new AbortController().signal }),
  )
  expect(texts).toEqual(['retry: 1000\n', formatEvent(event(1)), formatEvent(event(2))])
})

it('fills silence with comments and loses no event by it', async () => {
  async function* source() {
    yield event(1)
    await sleep(300)
    yield event(2)
  }
  const texts = await collect(encodeEvents(source(), { heartbeat: 10, signal: new AbortController().signal }))
  expect(texts.filter((text) => text === ': keep-alive\n').length).toBeGreaterThan(1)
  expect(texts.filter((text) => text.startsWith('id:'))).toEqual([
    formatEvent(event(1)),
    formatEvent(event(2)),
  ])
})

it('ends on the signal although its source never speaks', async () => {
  const controller = new AbortController()
  async function* source() {
    yield event(1)
    controller.abort()
    await new Promise(() => {})
  }
  expect(
    await collect(encodeEvents(source(), { heartbeat: 60_000, signal: controller.signal })),
  ).toHaveLength(2)
})

it('requests an event only when the one before was taken', async () => {
  let asked = 0
  async function* source() {
    for (;;) yield event(++asked)
  }
  const texts = encodeEvents(source(), { heartbeat: 1000, signal: new AbortController().signal })
  for (let taken = 0; taken < 3; taken++) await texts.next()
  expect(asked).toBe(2)
  await texts.return(undefined)
})

it('fails with its source', async () => {
  async function* source() {
    yield event(1)
    throw new Error('the store is away')
  }
  const texts = encodeEvents(source(), { heartbeat: 1000, signal: new AbortController().signal })
  await expect(collect(texts)).rejects.toThrow('the store is away')
})
