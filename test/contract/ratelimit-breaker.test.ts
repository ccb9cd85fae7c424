import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import type { CallOutcome } from '../../ratelimit/breaker.ts'
import type { Settlement } from '../../ratelimit/gate.ts'
import { seed } from '../helpers/seed.ts'
import { callOf, laneWith, makeLua, makeTwin, type Subject } from './ratelimit-subjects.ts'
import { createRandom } from './ratelimit-traffic.ts'

const CALL = callOf(100)
const LANE = laneWith({})

describe.each([
  { name: 'Lua', make: makeLua, runs: 4 },
  { name: 'twin', make: makeTwin, runs: 80 },
])('the breaker of the $name bucket', ({ make, runs }) => {
  const maker = make()
  afterAll(maker.close)

  const create = (leaseMs?: number) => maker.create(leaseMs === undefined ? {} : { leaseMs })

  /**
   * Takes so many calls, which have to be let through. Some time passes before, so that they are newer than earlier
   * calls.
   */
  async function take({ gate, clock }: Subject, count = 1): Promise<string[]> {
    clock.now += 1
    const { permits } = await gate.take(
      LANE,
      Array.from({ length: count }, () => ({ cost: CALL })),
    )
    expect(permits).toHaveLength(count)
    return permits
  }

  /** Settles calls with an outcome a millisecond later. */
  async function settle(
    { gate, clock }: Subject,
    permits: string[],
    outcome: CallOutcome,
    more: Partial<Settlement> = {},
  ) {
    clock.now += 1
    await gate.settle(
      LANE,
      permits.map((permit) => ({ permit, actual: CALL, outcome, ...more })),
    )
  }

  async function breakCalls(subject: Subject, count: number) {
    for (let i = 0; i < count; i++) await settle(subject, await take(subject), 'broken')
  }

  const breakerOf = async ({ gate }: Subject) => (await gate.read(LANE)).breaker
  const refusal = async ({ gate }: Subject) => {
    const answer = await gate.take(LANE, [{ cost: CALL }])
    expect(answer.permits).toEqual([])
    return answer
  }

  it('opens at the fifth broken call in a row, and the lane lets nothing leave for 15 s', async () => {
    const subject = create()
    await breakCalls(subject, 4)
    expect(await breakerOf(subject)).toMatchObject({ state: 'closed', failures: 4, openUntil: null })
    await breakCalls(subject, 1)
    const openUntil = subject.clock.now + 15_000
    expect(await subject.gate.read(LANE)).toMatchObject({
      breaker: { state: 'open', failures: 5, openUntil },
      pausedUntil: openUntil,
      pausedReason: 'breaker_open',
    })
    expect(await refusal(subject)).toMatchObject({
      waitMs: 15_000,
      waitingFor: 'provider_pause',
      never: false,
    })
    subject.clock.now += 14_999
    expect((await refusal(subject)).waitMs).toBe(1)
    subject.clock.now += 1
    expect(await breakerOf(subject)).toMatchObject({ state: 'half_open', failures: 5, openUntil: null })
  })

  it('stays closed as long as an answered call comes between the broken ones', async () => {
    const subject = create()
    for (let round = 0; round < 5; round++) {
      await breakCalls(subject, 4)
      await settle(subject, await take(subject), 'ok')
    }
    expect(await breakerOf(subject)).toMatchObject({ state: 'closed', failures: 0 })
  })

  it('ignores calls that say nothing about the provider, and 429s', async () => {
    const subject = create()
    await breakCalls(subject, 4)
    await settle(subject, await take(subject), null)
    const [permit] = await take(subject)
    await subject.gate.settle(LANE, [{ permit: permit!, actual: null }])
    await settle(subject, await take(subject), 'broken', { throttledMs: 0 })
    expect(await breakerOf(subject)).toMatchObject({ state: 'closed', failures: 4 })
    subject.clock.now += 1000
    await settle(subject, await take(subject), 'ok', { throttledMs: 0 })
    expect(await breakerOf(subject)).toMatchObject({ state: 'closed', failures: 4 })
  })

  it('counts calls that were settled together', async () => {
    const subject = create()
    await settle(subject, await take(subject, 8), 'broken')
    expect(await breakerOf(subject)).toMatchObject({ state: 'open', failures: 5 })
  })

  it('lets one probe through when it is half-open, also of one take for many', async () => {
    const subject = create()
    await breakCalls(subject, 5)
    subject.clock.now += 15_000
    const { gate } = subject
    const answer = await gate.take(LANE, [{ cost: CALL }, { cost: CALL }, { cost: CALL }])
    expect(answer.permits).toHaveLength(1)
    expect(answer).toMatchObject({ waitMs: 250, waitingFor: 'provider_pause' })
    expect(await refusal(subject)).toMatchObject({ waitMs: 250, waitingFor: 'provider_pause' })
  })

  it('closes with a probe that is answered, and resets the failures and how long it was open', async () => {
    const subject = create()
    await breakCalls(subject, 5)
    subject.clock.now += 15_000
    await breakCalls(subject, 1)
    subject.clock.now += 30_000
    await settle(subject, await take(subject), 'ok')
    expect(await breakerOf(subject)).toMatchObject({ state: 'closed', failures: 0, openUntil: null })
    await take(subject, 20)
    await breakCalls(subject, 5)
    expect((await refusal(subject)).waitMs).toBe(15_000)
  })

  it('opens twice as long after a broken probe, up to half a minute', async () => {
    const subject = create()
    await breakCalls(subject, 5)
    for (const waitMs of [15_000, 30_000, 30_000, 30_000]) {
      expect((await refusal(subject)).waitMs).toBe(waitMs)
      subject.clock.now += waitMs
      await breakCalls(subject, 1)
    }
  })

  it('is neither closed nor held open by calls that left before it opened', async () => {
    const subject = create()
    const earlier = await take(subject, 4)
    await breakCalls(subject, 5)
    const { openUntil } = await breakerOf(subject)
    await settle(subject, earlier.slice(0, 1), 'ok')
    await settle(subject, earlier.slice(1, 2), 'broken')
    expect(await breakerOf(subject)).toMatchObject({ state: 'open', failures: 5, openUntil })
    subject.clock.now += 15_000
    await settle(subject, earlier.slice(2, 3), 'ok')
    await settle(subject, earlier.slice(3, 4), 'broken')
    expect(await breakerOf(subject)).toMatchObject({ state: 'half_open', failures: 5 })
    await take(subject)
  })

  it('is not opened again by calls that left before it closed', async () => {
    const subject = create()
    const earlier = await take(subject, 5)
    await breakCalls(subject, 5)
    subject.clock.now += 15_000
    await settle(subject, await take(subject), 'ok')
    await settle(subject, earlier, 'broken')
    expect(await breakerOf(subject)).toMatchObject({ state: 'closed', failures: 0 })
  })

  it('sends the next probe when the lease of one has run out', async () => {
    const subject = create(5000)
    await breakCalls(subject, 5)
    subject.clock.now += 15_000
    const [lost] = await take(subject)
    subject.clock.now += 4999
    expect((await refusal(subject)).waitMs).toBe(1)
    const [next] = await take(subject)
    await refusal(subject)
    await settle(subject, [lost!], null)
    await refusal(subject)
    await settle(subject, [next!], 'ok')
    expect(await breakerOf(subject)).toMatchObject({ state: 'closed' })
  })

  it('waits for a probe as long as its lease is renewed', async () => {
    const subject = create(5000)
    await breakCalls(subject, 5)
    subject.clock.now += 15_000
    const probe = await take(subject)
    for (let i = 0; i < 5; i++) {
      subject.clock.now += 4000
      await subject.gate.renew(LANE, probe)
      await refusal(subject)
    }
  })

  it('counts the outcome of a probe whose lease has ended', async () => {
    const subject = create(5000)
    await breakCalls(subject, 5)
    subject.clock.now += 15_000
    const late = await take(subject)
    subject.clock.now += 6000
    await settle(subject, late, 'ok')
    expect(await breakerOf(subject)).toMatchObject({ state: 'closed' })
  })

  it('sends the next probe at once when the outcome of one says nothing', async () => {
    const subject = create()
    await breakCalls(subject, 5)
    subject.clock.now += 15_000
    await settle(subject, await take(subject), null)
    await take(subject)
    expect(await breakerOf(subject)).toMatchObject({ state: 'half_open', failures: 5 })
  })

  it('is neither closed nor opened by a 429 to its probe, which only pauses the lane', async () => {
    const subject = create()
    await breakCalls(subject, 5)
    subject.clock.now += 15_000
    await settle(subject, await take(subject), 'ok', { throttledMs: 2000 })
    expect(await breakerOf(subject)).toMatchObject({ state: 'half_open', failures: 5 })
    expect((await refusal(subject)).waitMs).toBe(2000)
    subject.clock.now += 2000
    await take(subject)
    await refusal(subject)
  })

  it('is closed by hand, open or half-open, and ignores calls that left before', async () => {
    for (const waitMs of [1000, 16_000]) {
      const subject = create()
      const earlier = await take(subject, 5)
      await breakCalls(subject, 5)
      subject.clock.now += waitMs
      await subject.gate.resume(LANE)
      expect(await subject.gate.read(LANE)).toMatchObject({
        breaker: { state: 'closed', failures: 0, openUntil: null },
        pausedUntil: null,
        pausedReason: null,
      })
      await take(subject, 20)
      await settle(subject, earlier, 'broken')
      expect(await breakerOf(subject)).toMatchObject({ state: 'closed', failures: 0 })
    }
  })

  it('does not end a longer pause by hand', async () => {
    const subject = create()
    await subject.gate.pause(LANE, 0, 'by hand')
    const calls = await take(subject, 5)
    await subject.gate.pause(LANE, 60_000, 'by hand')
    await settle(subject, calls, 'broken')
    expect(await subject.gate.read(LANE)).toMatchObject({
      breaker: { state: 'open' },
      pausedReason: 'by hand',
    })
    subject.clock.now += 20_000
    expect(await breakerOf(subject)).toMatchObject({ state: 'half_open' })
    await refusal(subject)
  })

  it('tells times on the clock of the server, however that is set', async () => {
    const subject = create()
    await take(subject)
    subject.clock.now -= 3_600_000
    await breakCalls(subject, 5)
    expect((await breakerOf(subject)).openUntil).toBe(subject.clock.now + 15_000)
    subject.clock.now += 15_000
    await take(subject)
  })

  describe('tells the provider from what some jobs break', () => {
    /** A call of a tenant leaves and breaks. */
    async function breakOf(subject: Subject, tenant: string, prompt: string, job = prompt) {
      const permit = await takeOf(subject, tenant)
      expect(permit, `a call of ${tenant}`).toBeDefined()
      await settle(subject, [permit!], 'broken', { source: { tenant, prompt, job } })
    }
    async function takeOf({ gate, clock }: Subject, tenant: string): Promise<string | undefined> {
      clock.now += 1
      return (await gate.take(LANE, [{ cost: CALL, tenant }])).permits[0]
    }
    /** All prompts of a tenant break, until the breaker is open for it. */
    async function poison(subject: Subject, tenant = 'poisoned') {
      for (let i = 0; i < 5; i++) await breakOf(subject, tenant, `prompt ${i}`)
      expect(await breakerOf(subject)).toMatchObject({ state: 'open', heldTenants: [tenant] })
    }

    it('and stays closed however many calls one job breaks', async () => {
      const subject = create()
      for (let i = 0; i < 30; i++) await breakOf(subject, 'a', 'poison', 'the job')
      expect(await breakerOf(subject)).toMatchObject({ state: 'closed', failures: 30 })
    })

    it('and stays closed however many calls four prompts break, each of one job', async () => {
      const subject = create()
      for (let i = 0; i < 40; i++) await breakOf(subject, 'a', `poison ${i % 4}`)
      expect(await breakerOf(subject)).toMatchObject({ state: 'closed' })
    })

    it('but opens within ten broken calls of equal prompts of many jobs', async () => {
      const subject = create()
      for (let i = 0; i < 10; i++) await breakOf(subject, 'a', 'the same', `job ${i}`)
      expect(await breakerOf(subject)).toMatchObject({ state: 'open', heldTenants: ['a'] })
    })

    it('and lets another tenant go on at once, whose answer closes it', async () => {
      const subject = create()
      await poison(subject)
      expect(await subject.gate.take(LANE, [{ cost: CALL, tenant: 'poisoned' }])).toMatchObject({
        permits: [],
        waitingFor: 'provider_pause',
        othersMay: true,
      })
      const permit = await takeOf(subject, 'healthy')
      expect(await breakerOf(subject)).toMatchObject({ triedTenants: ['healthy'] })
      await settle(subject, [permit!], 'ok', { source: { tenant: 'healthy', prompt: 'x', job: 'x' } })
      expect(await breakerOf(subject)).toMatchObject({ state: 'closed', failures: 0, heldTenants: [] })
      await take(subject, 20)
    })

    it('and is not opened again for 15 s by tenants that another one has refuted, but by others, and by all after that', async () => {
      const subject = create()
      await poison(subject)
      const permit = await takeOf(subject, 'healthy')
      await settle(subject, [permit!], 'ok', { source: { tenant: 'healthy', prompt: 'x', job: 'x' } })
      for (let i = 0; i < 20; i++) await breakOf(subject, 'poisoned', `prompt ${i}`)
      expect(await breakerOf(subject)).toMatchObject({ state: 'closed', failures: 0 })
      for (let i = 0; i < 5; i++) await breakOf(subject, 'other', `prompt ${i}`)
      expect(await breakerOf(subject)).toMatchObject({ state: 'open', heldTenants: ['other'] })

      const again = create()
      await poison(again)
      const trial = await takeOf(again, 'healthy')
      await settle(again, [trial!], 'ok', { source: { tenant: 'healthy', prompt: 'x', job: 'x' } })
      again.clock.now += 15_000
      await poison(again)
    })

    it('and lets a tenant go on at once that its own probe has freed', async () => {
      const subject = create()
      await poison(subject)
      subject.clock.now += 15_000
      const probe = await takeOf(subject, 'poisoned')
      await settle(subject, [probe!], 'ok', { source: { tenant: 'poisoned', prompt: 'x', job: 'x' } })
      await poison(subject)
    })

    it('and tries other tenants one after the other, however the trials before end', async () => {
      const subject = create()
      await poison(subject)
      const { gate, clock } = subject
      await takeOf(subject, 'hangs')
      for (const tenant of ['hangs', 'next']) expect(await takeOf(subject, tenant)).toBeUndefined()
      clock.now += 1000
      expect(await takeOf(subject, 'hangs')).toBeUndefined()
      const answer = await gate.take(LANE, [
        { cost: CALL, tenant: 'next' },
        { cost: CALL, tenant: 'third' },
      ])
      expect(answer.permits).toHaveLength(1)
    })

    it('and holds a tenant back whose trial failed, for no longer than the others', async () => {
      const subject = create()
      await poison(subject)
      const { openUntil } = await breakerOf(subject)
      await breakOf(subject, 'second', 'prompt')
      subject.clock.now += 1000
      expect(await takeOf(subject, 'second')).toBeUndefined()
      expect(await breakerOf(subject)).toMatchObject({ heldTenants: ['poisoned', 'second'], openUntil })
      const permit = await takeOf(subject, 'healthy')
      await settle(subject, [permit!], 'ok')
      expect(await breakerOf(subject)).toMatchObject({ state: 'closed' })
    })

    it('and lets a healthy tenant wait for at most a second, however many others have poison and however their trials end', async () => {
      await fc.assert(
        fc.asyncProperty(fc.integer({ min: 1, max: 70 }), fc.integer(), async (tenants, chance) => {
          const random = createRandom(chance)
          const subject = create()
          const { gate, clock } = subject
          for (let i = 0; i < 400; i++) {
            const tenant = `t${Math.floor(random() * tenants)}`
            clock.now += random() * 100
            const permit = await takeOf(subject, tenant)
            if (permit === undefined || random() < 0.3) continue
            const source = { tenant, prompt: `${i % 7}`, job: `${i}` }
            await gate.settle(LANE, [{ permit, actual: CALL, outcome: 'broken', source }])
          }
          const arrived = clock.now
          for (;;) {
            const answer = await gate.take(LANE, [{ cost: CALL, tenant: 'healthy' }])
            if (answer.permits.length > 0) break
            clock.now += Math.max(1, answer.waitMs)
          }
          expect(clock.now - arrived).toBeLessThanOrEqual(1000)
        }),
        { seed, numRuns: Math.ceil(runs / 4) },
      )
    })
  })

  it('never has two probes out, sends none while it is open, and closes when the provider is back', async () => {
    const visited = new Set<string>()
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 8 }), fc.integer(), async (takers, chance) => {
        for (const state of await playOutage(create(4000), takers, createRandom(chance))) visited.add(state)
      }),
      { seed, numRuns: runs },
    )
    expect([...visited].sort()).toEqual(['closed', 'half_open', 'open'])
  }, 60_000)
})

/**
 * Takers on a lane whose provider is down for some minutes; some of them die with their call or settle late. Answers
 * the states of the breaker during that time.
 */
async function playOutage(subject: Subject, takers: number, random: () => number): Promise<Set<string>> {
  const { gate, clock } = subject
  const start = clock.now
  const backAt = start + 40_000 + random() * 200_000
  const visited = new Set<string>()
  /** Ends of the leases of unsettled calls that left since the breaker was last closed or opened. */
  const leases = new Map<string, number>()
  const events: { at: number; run: () => Promise<void> }[] = []
  const later = (ms: number, run: () => Promise<void>) => events.push({ at: clock.now + ms, run })

  for (let taker = 0; taker < takers; taker++) {
    const turn = async (): Promise<void> => {
      const { state } = (await gate.read(LANE)).breaker
      visited.add(state)
      const answer = await gate.take(LANE, [{ cost: CALL }, { cost: CALL }])
      if (state === 'open') expect(answer.permits).toEqual([])
      if (state === 'half_open' && answer.permits.length > 0) {
        expect(answer.permits).toHaveLength(1)
        expect([...leases.values()].filter((end) => end > clock.now)).toEqual([])
      }
      for (const permit of answer.permits) {
        if (state !== 'closed') leases.set(permit, clock.now + 4000)
        if (random() < 0.15 && clock.now < backAt) continue // It dies.
        later(random() * 6000, async () => {
          const before = (await gate.read(LANE)).breaker.state
          const outcome = random() < 0.1 ? null : clock.now < backAt ? 'broken' : 'ok'
          await gate.settle(LANE, [{ permit, actual: CALL, outcome }])
          leases.delete(permit)
          if ((await gate.read(LANE)).breaker.state !== before) leases.clear()
        })
      }
      later(answer.waitMs + 100 + random() * 900, turn)
    }
    later(random() * 1000, turn)
  }
  let state = ''
  while (clock.now < backAt || state !== 'closed') {
    let first = 0
    for (let i = 1; i < events.length; i++) if (events[i]!.at < events[first]!.at) first = i
    const [event] = events.splice(first, 1)
    clock.now = event!.at
    await event!.run()
    state = (await gate.read(LANE)).breaker.state
    expect(clock.now).toBeLessThan(backAt + 180_000)
  }
  return visited
}
