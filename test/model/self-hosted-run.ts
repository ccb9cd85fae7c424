import type { CallTiming } from '../../ratelimit/concurrency.ts'
import { type SelfHosted, slowdownOf } from '../../simulator/self-hosted.ts'

/** Decides how many calls may run. */
export type Policy = {
  limit(now: number): number
  hear(timing: CallTiming, inFlight: number, now: number): void
}

type RunResult = {
  /** Answered calls a second and the 95th percentile of their latency, ms, in the measured part. */
  rate: number
  p95: number
}

type Call = { startedAt: number; first: number; tokens: number; length: number; firstAt: number | null }

const TICK_MS = 5

/** An endless backlog meets a self-hosted server, in virtual time; the calls share the server at each moment. */
export function runSelfHosted(
  policy: Policy,
  server: SelfHosted & { kneeAt: (now: number) => number },
  options: { untilMs: number; measureFromMs: number; streams: boolean; random: () => number },
): RunResult {
  const calls = new Set<Call>()
  const latencies: number[] = []
  for (let now = 0; now < options.untilMs; now += TICK_MS) {
    while (calls.size < policy.limit(now)) {
      const noise = 0.8 + 0.4 * options.random()
      const length = Math.round(20 + 60 * options.random())
      calls.add({ startedAt: now, first: noise, tokens: length, length, firstAt: null })
    }
    const slow = slowdownOf(calls.size, server.kneeAt(now))
    for (const call of calls) {
      if (call.firstAt === null) {
        call.first -= TICK_MS / (server.firstTokenMs * slow.first)
        if (call.first <= 0) call.firstAt = now + TICK_MS
      } else call.tokens -= TICK_MS / (server.tokenMs * slow.token)
      if (call.tokens > 0) continue
      const latencyMs = now + TICK_MS - call.startedAt
      const firstTokenMs = options.streams ? call.firstAt! - call.startedAt : null
      policy.hear(
        { latencyMs, firstTokenMs, outputTokens: call.length, overloaded: false },
        calls.size,
        now + TICK_MS,
      )
      calls.delete(call)
      if (call.startedAt >= options.measureFromMs) latencies.push(latencyMs)
    }
  }
  latencies.sort((a, b) => a - b)
  return {
    rate: (latencies.length * 1000) / (options.untilMs - options.measureFromMs),
    p95: latencies[Math.floor(latencies.length * 0.95)] ?? 0,
  }
}
