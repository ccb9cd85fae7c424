import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import { seed } from '../helpers/seed.ts'
import { callOf, laneWith, makeLua, makeTwin, type Subject } from './ratelimit-subjects.ts'
import { createRandom } from './ratelimit-traffic.ts'

const CALL = callOf(100)
const LANE = laneWith({})

describe.each([
  { name: 'Lua', make: makeLua, runs: 10 },
  { name: 'twin', make: makeTwin, runs: 100 },
])('the retry budget of the $name bucket', ({ make, runs }) => {
  const maker = make()
  afterAll(maker.close)

  const takeMany = ({ gate }: Subject, count: number) =>
    gate.take(
      LANE,
      Array.from({ length: count }, () => ({ cost: CALL })),
    )

  it('lets ten retries go at once, and puts off the others one behind the other by two seconds each', async () => {
    const { gate } = maker.create()
    expect(await gate.retry(LANE, 13)).toEqual([...Array(10).fill(0), 2000, 4000, 6000])
    expect(await gate.retry(LANE, 1)).toEqual([8000])
  })

  it('earns a retry with every five requests, the retries among them', async () => {
    const subject = maker.create()
    await subject.gate.retry(LANE, 10)
    await takeMany(subject, 15)
    expect(await subject.gate.retry(LANE, 4)).toEqual([0, 0, 0, 2000])
  })

  it('earns a retry every two seconds, so that a quiet lane is not stuck', async () => {
    const { gate, clock } = maker.create()
    await gate.retry(LANE, 10)
    clock.now += 5000
    expect(await gate.retry(LANE, 3)).toEqual([0, 0, 1000])
  })

  it('saves no more than ten, at any traffic and for any time', async () => {
    const subject = maker.create()
    await takeMany(subject, 1000)
    subject.clock.now += 3_600_000
    expect((await subject.gate.retry(LANE, 11)).filter((ms) => ms === 0)).toHaveLength(10)
  })

  it('does not give away again what it promised, though traffic earns more in between', async () => {
    const subject = maker.create()
    await subject.gate.retry(LANE, 15)
    await takeMany(subject, 5)
    expect(await subject.gate.retry(LANE, 2)).toEqual([0, 12_000])
    subject.clock.now += 12_000
    expect(await subject.gate.retry(LANE, 1)).toEqual([2000])
  })

  it('never puts a retry off by more than ten minutes, and recovers from that', async () => {
    const { gate, clock } = maker.create()
    const waits = await gate.retry(LANE, 400)
    expect(waits[309]).toBe(600_000)
    expect(new Set(waits.slice(309))).toEqual(new Set([600_000]))
    clock.now += 602_000
    expect(await gate.retry(LANE, 2)).toEqual([0, 2000])
  })

  it('does not put off a tenant for what others have booked', async () => {
    const { gate } = maker.create()
    await gate.retry(LANE, 100, 'failing')
    expect(await gate.retry(LANE, 2, 'other')).toEqual([4000, 8000])
    expect(await gate.retry(LANE, 1, 'third')).toEqual([6000])
    expect((await gate.retry(LANE, 1, 'failing'))[0]).toBeGreaterThan(180_000)
  })

  it('is kept for each lane', async () => {
    const { gate } = maker.create()
    await gate.retry(LANE, 20)
    expect(await gate.retry({ ...LANE, id: 'provider/other' }, 1)).toEqual([0])
  })

  it('answers no retries with an empty list, and leaves the rest of the lane unchanged', async () => {
    const { gate } = maker.create()
    const before = await gate.read(LANE)
    expect(await gate.retry(LANE, 0)).toEqual([])
    await gate.retry(LANE, 50)
    expect(await gate.read(LANE)).toEqual(before)
  })

  it('keeps retries in every stretch of time below a fifth of its requests, ten, and one every two seconds', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          takers: fc.integer({ min: 1, max: 8 }),
          everyMs: fc.constantFrom(200, 1000, 5000),
          failing: fc.double({ min: 0, max: 1, noNaN: true }),
          chance: fc.integer(),
        }),
        async ({ takers, everyMs, failing, chance }) => {
          const random = createRandom(chance)
          const played = await playFailures(maker.create(), { takers, everyMs, failing, random })
          expectFifth(played)
        },
      ),
      { seed, numRuns: runs },
    )
  }, 60_000)
})

/** When requests left, ms, and which of them were retries. */
type Sent = { at: number; retry: boolean }

/**
 * Calls that fail and go again when the budget allows it. They leave in bursts with pauses between, fail at the given
 * share for a while and hardly ever for a while, up to the number of retries at which waits would reach their
 * maximum.
 */
async function playFailures(
  { gate, clock }: Subject,
  {
    takers,
    everyMs,
    failing,
    random,
  }: { takers: number; everyMs: number; failing: number; random: () => number },
): Promise<Sent[]> {
  const sent: Sent[] = []
  const due: number[] = []
  let booked = 0
  while (sent.length < 1500 && booked < 300) {
    const storm = Math.floor(sent.length / 200) % 2 === 0
    const fresh = 1 + Math.floor(random() * takers)
    const again = due.filter((at) => at <= clock.now).length
    due.sort((a, b) => a - b).splice(0, again)
    for (let i = 0; i < fresh + again; i++) sent.push({ at: clock.now, retry: i < again })
    await gate.take(
      LANE,
      Array.from({ length: fresh + again }, () => ({ cost: CALL })),
    )
    let failed = 0
    for (let i = 0; i < fresh + again; i++) if (random() < (storm ? failing : 0.02)) failed++
    for (const ms of await gate.retry(LANE, failed)) due.push(clock.now + ms)
    booked += failed
    const next = Math.ceil(random() < 0.05 ? random() * 30_000 : random() * everyMs)
    // Retries go when they are due, alone if necessary: waiting for the next fresh call would only thin them out.
    clock.now = Math.max(clock.now + 1, Math.min(clock.now + next, ...due))
  }
  return sent
}

/** `sent` is in the order of time; requests of the same instant may have earned a retry. */
function expectFifth(sent: Sent[]): void {
  const retries = sent.flatMap(({ retry }, index) => (retry ? [index] : []))
  const firstAt = sent.map(({ at }, index) => (sent[index - 1]?.at === at ? -1 : index))
  const lastAt = sent.map(({ at }, index) => (sent[index + 1]?.at === at ? -1 : index))
  for (let i = 1; i < sent.length; i++) if (firstAt[i] === -1) firstAt[i] = firstAt[i - 1]!
  for (let i = sent.length - 2; i >= 0; i--) if (lastAt[i] === -1) lastAt[i] = lastAt[i + 1]!
  let worst = Number.NEGATIVE_INFINITY
  for (const [i, first] of retries.entries()) {
    for (let j = i; j < retries.length; j++) {
      const last = retries[j]!
      const requests = lastAt[last]! - firstAt[first]! + 1
      const allowed = 0.2 * requests + 0.0005 * (sent[last]!.at - sent[first]!.at) + 10 + 1
      worst = Math.max(worst, j - i + 1 - allowed)
    }
  }
  expect(worst, 'more retries than any stretch of time allows').toBeLessThanOrEqual(1e-6)
}
