import { afterEach, beforeEach, expect, onTestFinished, test, vi } from 'vitest'
import { toOpenAnswer } from '../../../client/http.ts'
import { ApiFailure } from '../../../dashboard/src/api.ts'
import { watch } from '../../../dashboard/src/state/watch.ts'

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
})
afterEach(() => {
  vi.useRealTimers()
})

/** Watches what `read` answers, by its number from 1 on; `tell` sends an event. */
function start(
  read: (reading: number) => Promise<object>,
  given: { everyMs?: number; hidden?: boolean } = {},
) {
  const { everyMs, hidden = false } = given
  const page = { hidden, reads: 0, asked: [] as string[] }
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>()
  const events = writable.getWriter()
  const watching = watch<object>({
    api: {
      async open(path) {
        page.asked.push(path)
        return toOpenAnswer(new Response(readable), 60_000)
      },
      json: async <Body>() => (await read(++page.reads)) as Body,
    },
    path: '/v1/durable/report',
    events: { durable: 'report 1' },
    tenant: 'acme',
    everyMs: everyMs ?? null,
    isHidden: () => page.hidden,
    now: Date.now,
    random: () => 0.5,
  })
  onTestFinished(watching.stop)
  const tell = () => events.write(new TextEncoder().encode('id: 1\nevent: job.completed\ndata: {}\n\n'))
  return { watching, page, tell }
}

test('it is read at once, when the stream is open, and soon after events, however many there are', async () => {
  const { watching, page, tell } = start(async (reading) => ({ reading }))
  await vi.advanceTimersByTimeAsync(10_000)
  expect([page.asked, page.reads]).toEqual([['/v1/events?durable=report+1'], 2])
  for (let count = 0; count < 5; count++) await tell()
  await vi.advanceTimersByTimeAsync(10_000)
  expect(page.reads).toBeLessThanOrEqual(4)
  expect(watching.body.value).toEqual({ reading: page.reads })
  const before = page.reads
  await vi.advanceTimersByTimeAsync(60_000)
  expect(page.reads).toBe(before)
})

test('what takes long to read is read less often, and never twice at a time', async () => {
  let open = 0
  const { page } = start(
    async () => {
      expect(++open).toBe(1)
      await new Promise((done) => setTimeout(done, 2_000))
      open--
      return {}
    },
    { everyMs: 3_000 },
  )
  // Each takes 2 s, and a pause of four times that follows it.
  await vi.advanceTimersByTimeAsync(60_000)
  expect(page.reads).toBe(6)
})

test('where not every change is an event, it is read again without one while somebody looks', async () => {
  const { page } = start(async () => ({}), { everyMs: 3_000 })
  await vi.advanceTimersByTimeAsync(1_000)
  const before = page.reads
  await vi.advanceTimersByTimeAsync(6_500)
  expect(page.reads).toBe(before + 2)
  page.hidden = true
  await vi.advanceTimersByTimeAsync(60_000)
  expect(page.reads).toBe(before + 2)
  page.hidden = false
  await vi.advanceTimersByTimeAsync(3_500)
  expect(page.reads).toBe(before + 3)
})

test('what is gone is asked for no more until an event comes, and keeps what was seen of it', async () => {
  const { watching, page, tell } = start(
    async (reading) => {
      if (reading === 4) throw new ApiFailure(404, 'not_found', 'No such run.')
      return { reading }
    },
    { everyMs: 3_000 },
  )
  await vi.advanceTimersByTimeAsync(30_000)
  expect([page.reads, watching.failure.value?.status, watching.body.value]).toEqual([4, 404, { reading: 3 }])
  await tell()
  await vi.advanceTimersByTimeAsync(1_000)
  expect([watching.failure.value, watching.body.value]).toEqual([null, { reading: 5 }])
})

test('it is read again after the server was away, though no event comes any more', async () => {
  const { watching } = start(async (reading) => {
    if (reading < 4) throw new ApiFailure(reading % 2 === 0 ? 503 : 0, null, 'Away.')
    return { reading }
  })
  await vi.advanceTimersByTimeAsync(1_000)
  expect(watching.failure.value).not.toBeNull()
  await vi.advanceTimersByTimeAsync(10_000)
  expect([watching.failure.value, watching.body.value]).toEqual([null, { reading: 4 }])
})
