import type { FaultRule, SimulatorOptions } from '../../simulator/options.ts'

/**
 * One scenario of HiveMind's evaluation (arXiv 2604.17111; the parameters are those of its evaluation/scenarios.py). Times are ms, rates are
 * shares of the calls.
 */
export type Scenario = {
  name: string
  agents: number
  /** Calls that each agent makes, one after the other. */
  turns: number
  requestsPerMinute: number
  tokensPerMinute: number
  latencyMs: number
  jitterMs: number
  /** Answered 502. */
  errors: number
  /** Reset before the headers. */
  resets: number
  /** Answered after five times the latency. */
  spikes: number
  /** Calls at once that the API takes; null: any number. */
  apiConcurrency: number | null
  /** Calls at once that the proxy in front of it makes. */
  proxyConcurrency: number
  /** Agents that died, % (table 5 of the paper). */
  published: { direct: number; hivemind: number }
}

const MICRO = {
  requestsPerMinute: 50,
  tokensPerMinute: 100_000,
  latencyMs: 80,
  jitterMs: 50,
  errors: 0,
  resets: 0,
  spikes: 0,
  apiConcurrency: null,
  proxyConcurrency: 5,
} as const

export const SCENARIOS: readonly Scenario[] = [
  { ...MICRO, name: 'micro-5', agents: 5, turns: 8, published: { direct: 0, hivemind: 0 } },
  { ...MICRO, name: 'micro-10', agents: 10, turns: 8, published: { direct: 100, hivemind: 10 } },
  { ...MICRO, name: 'micro-20', agents: 20, turns: 8, published: { direct: 100, hivemind: 10 } },
  { ...MICRO, name: 'micro-50', agents: 50, turns: 6, published: { direct: 100, hivemind: 0 } },
  {
    ...{ name: 'replay-11', agents: 11, turns: 8, requestsPerMinute: 60, tokensPerMinute: 200_000 },
    ...{ latencyMs: 120, jitterMs: 60, errors: 0.08, resets: 0.05, spikes: 0 },
    ...{ apiConcurrency: 5, proxyConcurrency: 5, published: { direct: 73, hivemind: 18 } },
  },
  {
    ...{ name: 'stress', agents: 20, turns: 10, requestsPerMinute: 20, tokensPerMinute: 50_000 },
    ...{ latencyMs: 200, jitterMs: 50, errors: 0.1, resets: 0.05, spikes: 0.1 },
    ...{ apiConcurrency: 3, proxyConcurrency: 3, published: { direct: 100, hivemind: 10 } },
  },
  {
    ...{ name: 'latency-spike', agents: 10, turns: 10, requestsPerMinute: 60, tokensPerMinute: 100_000 },
    ...{ latencyMs: 100, jitterMs: 30, errors: 0, resets: 0, spikes: 0.2 },
    ...{ apiConcurrency: null, proxyConcurrency: 5, published: { direct: 100, hivemind: 0 } },
  },
]

const SPIKE_TIMES = 5

/** The API of the scenario, `scale` times as fast as the clock. */
export function simulate(scenario: Scenario, scale: number, seed: number): SimulatorOptions {
  const { requestsPerMinute, tokensPerMinute, latencyMs, errors, resets, spikes, apiConcurrency } = scenario
  const spikeMs = ((SPIKE_TIMES - 1) * latencyMs) / scale
  const faults: FaultRule[] = [
    { kind: 'reset_before', rate: resets },
    { kind: '502', rate: errors },
    { kind: 'slow', rate: spikes, ms: spikeMs },
  ]
  return {
    limits: {
      requests_per_minute: requestsPerMinute * scale,
      tokens_per_minute: tokensPerMinute * scale,
      ...(apiConcurrency === null ? {} : { max_concurrency: apiConcurrency }),
    },
    enforcement: 'window',
    window: 60_000 / scale,
    latencyMs: latencyMs / scale,
    jitterMs: scenario.jitterMs / scale,
    outputTokens: 150,
    seed,
    faults: faults.filter(({ rate }) => rate! > 0),
  }
}

/** The configuration of Sluice for the same API: its limits, and nothing else. */
export function configureProvider(scenario: Scenario, url: string, scale: number): object {
  return {
    kind: 'openai',
    base_url: url,
    api_key: 'any',
    limits: {
      requests_per_minute: scenario.requestsPerMinute * scale,
      tokens_per_minute: scenario.tokensPerMinute * scale,
      max_concurrency: scenario.proxyConcurrency,
      // In real time Sluice has to find the window out.
      ...(scale === 1 ? {} : { window: `${60_000 / scale}ms` }),
    },
    // The defaults, at the speed of the scenario.
    retry: { base: `${Math.ceil(500 / scale)}ms`, cap: `${Math.ceil(60_000 / scale)}ms` },
    models: { m: {} },
  }
}
