import { expect, it } from 'vitest'
import { openFairService, promptOf } from '../../helpers/fair-service.ts'

/** Calls a second, and jobs of one tenant for one moment. */
const RATE = 100
const LATER = 200

it('jobs that were scheduled for one moment have their turns beside those of others from then on', async () => {
  const fair = await openFairService({
    tenants: ['later', 'busy', 'quiet'],
    limits: { requests_per_minute: 60 * RATE, headroom: 1 },
  })
  const many = (name: string, count: number) =>
    Array.from({ length: count }, (_, index) => `${name} ${index}`)
  const dueAt = Date.now() + 2500
  const run_at = new Date(dueAt).toISOString()
  const ids = await fair.submit('later', many('later', LATER), { run_at })
  await fair.submit('busy', many('busy', 700))
  const callsOf = (name: string) => fair.upstream.calls.filter(({ body }) => promptOf(body).startsWith(name))
  await expect.poll(() => callsOf('later').length, { timeout: 15_000, interval: 10 }).toBeGreaterThan(0)
  // Soon after their time, though the lane has a backlog of seven seconds.
  expect(Date.now() - dueAt).toBeGreaterThanOrEqual(0)
  expect(Date.now() - dueAt).toBeLessThan(3000)

  const before = callsOf('later').length
  const [quiet] = await fair.submit('quiet', ['quiet'])
  const askedAt = Date.now()
  const last = await fair.job('later', ids.at(-1)!)
  const { job } = await fair.ended('quiet', quiet!)
  expect(job.status).toBe('completed')
  // Those of the step that is served when it comes, and what the worker has in hand.
  expect(callsOf('later').length - before).toBeLessThan(LATER / 3)

  // Every other call is one of theirs.
  expect(last.status).toBe('queued')
  if (last.estimated_start_at !== null) {
    const startedAt = Date.parse((await fair.ended('later', ids.at(-1)!)).job.started_at!)
    const share = (Date.parse(last.estimated_start_at) - askedAt) / (startedAt - askedAt)
    // Behind all others it would be more than 2. How well times are foretold is for forecast.test.ts.
    expect(share).toBeGreaterThan(0.5)
    expect(share).toBeLessThan(1.75)
  }
}, 60_000)
