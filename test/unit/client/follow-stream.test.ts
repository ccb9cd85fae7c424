import { expect, test } from 'vitest'
import type { ParsedEvent } from '../../../client/event-parser.ts'
import { readEvents } from '../../../client/follow-stream.ts'
import { type OpenAnswer, toOpenAnswer } from '../../../client/http.ts'

function answerOf(...parts: Uint8Array[]): OpenAnswer {
  const body = new ReadableStream({
    start(controller) {
      for (const part of parts) controller.enqueue(part)
      controller.close()
    },
  })
  return toOpenAnswer(new Response(body), 60_000)
}

async function read(...parts: (string | Uint8Array)[]): Promise<ParsedEvent[][]> {
  const encoder = new TextEncoder()
  const bytes = parts.map((part) => (typeof part === 'string' ? encoder.encode(part) : part))
  return Array.fromAsync(readEvents(answerOf(...bytes)))
}

test('events that came together come together, and one cut in two comes when it is whole', async () => {
  const events = await read(
    'id: 1\nevent: a\ndata: x\n\nid: 2\nevent: b\ndata: y\n\nid: 3\nev',
    'ent: c\ndata: z\n\n',
  )
  expect(events.map((some) => some.map(({ id, type, data }) => `${id} ${type} ${data}`))).toEqual([
    ['1 a x', '2 b y'],
    ['3 c z'],
  ])
})

test('a comment is a sign of life and no event', async () => {
  expect(await read(': keep-alive\n\n', 'retry: 1000\n\n')).toEqual([])
})

test('an event without an id has that of the one before it', async () => {
  const [events] = await read('id: 7\ndata: x\n\ndata: y\n\n')
  expect(events).toEqual([
    { id: '7', type: 'message', data: 'x' },
    { id: '7', type: 'message', data: 'y' },
  ])
})

test('a letter cut in the middle of its bytes is read whole', async () => {
  const bytes = new TextEncoder().encode('data: größe\n\n')
  const cut = bytes.indexOf(0xc3) + 1
  const events = await read(bytes.subarray(0, cut), bytes.subarray(cut))
  expect(events.flat().map(({ data }) => data)).toEqual(['größe'])
})

test('a reader that stops closes the connection', async () => {
  let isCancelled = false
  const stream = new ReadableStream<Uint8Array>({
    start: (controller) => controller.enqueue(new TextEncoder().encode('data: x\n\n')),
    cancel() {
      isCancelled = true
    },
  })
  for await (const _events of readEvents(toOpenAnswer(new Response(stream), 60_000))) break
  expect(isCancelled).toBe(true)
})
