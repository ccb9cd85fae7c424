import type { Lane } from '../../config/lanes.ts'
import { createLimiter } from '../../simulator/limiter.ts'
import { createRandom } from '../../simulator/random.ts'
import type { Subject } from './ratelimit-subjects.ts'

export type StrayOptions = {
  /** The share of the lane's requests a minute that the provider really grants. */
  share: number
  /** Ms after the start at which the provider refuses one call for which it has room. */
  strays: readonly number[]
  /** The length of the run, and the time from which admitted calls count, ms. */
  runMs: number
  fromMs: number
  seed: number
  /** The wait that the provider asks for after a 429, ms; default: a second. */
  retryAfterMs?: number
}

/**
 * A saturated lane with a provider whose headers say nothing: calls reach it up to 20 ms later and are answered after
 * 150 to 450 ms. Answers what it admits once counting begins, as a share of what it grants, and how many it refuses
 * in all.
 */
export async function runStrays(
  subject: Subject,
  lane: Lane,
  { share, strays, runMs, fromMs, seed, retryAfterMs = 1000 }: StrayOptions,
): Promise<{ share: number; refused: number }> {
  const random = createRandom(seed)
  const granted = lane.limits.requests_per_minute! * share
  const limiter = createLimiter({
    limits: { requests_per_minute: granted },
    enforcement: 'bucket',
    window: 10_000,
  })
  const start = subject.clock.now
  const waiting = [...strays]
  const call = { requests: 1, tokens: 0, inputTokens: 0, outputTokens: 0 }
  const events: { at: number; run: () => Promise<void> | void }[] = []
  const at = (time: number, run: () => Promise<void> | void) => {
    let index = events.length
    while (index > 0 && events[index - 1]!.at > time) index--
    events.splice(index, 0, { at: time, run })
  }
  let admitted = 0
  let refused = 0
  const arrive = (permit: string) => {
    const { now } = subject.clock
    const isStray = waiting.length > 0 && now - start >= waiting[0]!
    if (isStray) waiting.shift()
    if (!isStray && limiter.take(0, now).admitted) {
      if (now - start >= fromMs) admitted++
      at(now + 150 + random() * 300, () =>
        subject.gate.settle(lane, [{ permit, actual: call, outcome: 'ok' }]),
      )
      return
    }
    refused++
    at(now + 5 + random() * 10, () =>
      subject.gate.settle(lane, [{ permit, actual: call, throttledMs: retryAfterMs }]),
    )
  }
  const ask = async (): Promise<void> => {
    const { permits, waitMs } = await subject.gate.take(lane, Array(8).fill({ cost: call }))
    for (const permit of permits) at(subject.clock.now + random() * 20, () => arrive(permit))
    at(subject.clock.now + Math.max(1, waitMs), ask)
  }
  at(start, ask)
  while (events.length > 0 && events[0]!.at < start + runMs) {
    const event = events.shift()!
    subject.clock.now = Math.max(subject.clock.now, event.at)
    await event.run()
  }
  return { share: admitted / ((granted / 60_000) * (runMs - fromMs)), refused }
}
