import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { placeOn } from '../../helpers/redis.ts'
import { startTestCluster, type TestCluster } from '../../helpers/redis-cluster.ts'
import { chat, getAttempts, getJob, groupEnded, startStack } from '../../helpers/stack.ts'

const JOBS = 250
const IN_HAND = 20
/** Between two keys of a slot: moving the tenant's hundreds of keys takes longer than a caller is held. */
const PAUSE_MS = 6

let cluster: TestCluster
beforeAll(async () => {
  cluster = await startTestCluster()
})
afterAll(() => cluster?.close())

test('slots that move under load lose no job and repeat no call; callers in between wait or are told to come again', async () => {
  const place = placeOn(cluster.urls)
  const stack = await startStack({
    redis: place,
    workers: 2,
    simulator: ['--latency', '30', '--jitter', '30'],
    limits: '{ max_concurrency: 40 }',
  })
  onTestFinished(async () => {
    await stack.stop()
  })
  const url = stack.urls[0]!
  const refusals: (string | null)[] = []
  const ids: string[] = []
  const texts = Array.from({ length: JOBS }, (_, index) => `number ${index}`)

  async function submit(text: string): Promise<void> {
    for (;;) {
      // With a key, because a submission that gets 503 may have been carried out.
      const response = await fetch(`${url}/v1/jobs`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'idempotency-key': text.replace(' ', '-') },
        body: JSON.stringify(chat(text, { group: 'moved' })),
      })
      if (response.status === 202 || response.status === 200) {
        ids.push(((await response.json()) as { id: string }).id)
        return
      }
      expect(response.status, await response.text()).toBe(503)
      refusals.push(response.headers.get('retry-after'))
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }
  const clients = Array.from({ length: IN_HAND }, async () => {
    for (let text = texts.shift(); text !== undefined; text = texts.shift()) await submit(text)
  })

  const moved: number[] = []
  const lane = await cluster.slotOf(`${place.prefix}:{l:sim/chat}`)
  const tenant = await cluster.slotOf(`${place.prefix}:{t:default}`)
  for (const [slot, pauseMs] of [
    [lane, 5],
    [tenant, PAUSE_MS],
    [lane, 5],
    [tenant, 0],
  ] as const) {
    await new Promise((resolve) => setTimeout(resolve, 300))
    const { keys } = await cluster.moveSlot(slot, ((await cluster.ownerOf(slot)) + 1) % 3, pauseMs)
    moved.push(keys)
  }
  await Promise.all(clients)
  const summary = await groupEnded(url, 'moved')

  expect(
    moved.every((keys) => keys > 0),
    String(moved),
  ).toBe(true)
  expect(summary).toMatchObject({ total: JOBS, counts: { completed: JOBS } })
  // None if the slots moved faster than the longest wait of a caller.
  for (const retryAfter of refusals) expect(Number(retryAfter)).toBeGreaterThan(0)
  for (const id of ids) expect((await getJob(url, id)).status).toBe('completed')
  const hashes = (await stack.simulator.calls()).map((call) => call.prompt_hash)
  expect(new Set(hashes).size).toBe(JOBS)
  expect(hashes).toHaveLength(JOBS)
  for (const id of ids) expect(await getAttempts(url, id)).toMatchObject([{ outcome: 'completed' }])
}, 90_000)
