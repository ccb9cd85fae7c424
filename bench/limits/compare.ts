import { type Client, runBottleneck, runOpenAi, runPQueue } from './clients.ts'
import { type SecondClient, startSecondClient } from './second-client.ts'
import { type Sluice, startSluice } from './sluice.ts'
import { admittedBetween, rejectedBetween, type Shares, sharesDuring, sharesOf } from './timeline.ts'
import { startUpstream, type Upstream } from './upstream.ts'
import {
  type Amount,
  grantOf,
  LATENCY,
  LIMITS,
  type Limits,
  makeCalls,
  secondsOf,
  sumOf,
} from './workload.ts'

/** What differs from the configuration of all clients. */
export type Scenario = {
  title: string
  /** The share of the configured limits that the upstream really grants. */
  granted: number
  /** The share of the configured limits that a second client asks for. */
  taken: number
}

export const SCENARIOS = {
  compare: { title: 'As configured', granted: 1, taken: 0 },
  half: { title: 'The real limit is half of the configured one', granted: 0.5, taken: 0 },
  shared: { title: 'A second client takes 30% of the limit', granted: 1, taken: 0.3 },
} as const satisfies Record<string, Scenario>

export type Row = {
  name: string
  answered: number
  failed: number
  /** From the first call to the end of the last. */
  seconds: number
  /** The shortest possible time. */
  idealSeconds: number
  /** 429s to this client. */
  refused: number
  /** Of the real limits, from the first call to the end of the last, all clients together. */
  shares: Shares
  /** The same from ten seconds after the start until there is no more to send; null: that is too short to tell. */
  lateShares: Shares | null
  second: { sent: number; refused: number } | null
}

export type Comparison = { title: string; calls: Amount; rows: Row[] }

/** The bucket of the upstream holds a minute's worth, as OpenAI's does. */
const COMPARED_WINDOW_MS = 60_000

/** Fewer seconds than this say nothing about a share of the limit. */
const LEAST_SECONDS = 5
/** From a call's admission to the moment when its end is known. */
const LONGEST_ANSWER_SECONDS = (LATENCY.least + LATENCY.jitter + 150) / 1000
/** After this the limits must have been learned. */
const LEARNED_SECONDS = 10

type Contender = { name: string; run: Client }

const COUNT = 400

/** Sends the same calls in each of the five ways, one after the other, in each of the scenarios. */
export async function compareClients(
  scenarios: readonly Scenario[],
  say: (line: string) => void,
): Promise<Comparison[]> {
  const closers: (() => Promise<unknown>)[] = []
  try {
    const upstream = await startUpstream({
      name: 'upstream',
      enforcement: 'bucket',
      windowMs: COMPARED_WINDOW_MS,
    })
    closers.push(upstream.close)
    const open = async (workers: number) => {
      const options = { upstreamUrl: upstream.url, workers, windowMs: COMPARED_WINDOW_MS }
      const sluice = await startSluice({ name: `sluice-of-${workers}`, ...options })
      closers.push(sluice.close)
      return runThrough(sluice)
    }
    const contenders: Contender[] = [
      { name: 'a. openai alone, 50 at once', run: runOpenAi },
      { name: 'b. p-queue and openai', run: runPQueue },
      { name: 'c. Bottleneck and openai', run: runBottleneck },
      { name: 'd. Sluice, one worker', run: await open(1) },
      { name: 'e. Sluice, three workers', run: await open(3) },
    ]
    const comparisons: Comparison[] = []
    for (const [index, scenario] of scenarios.entries()) {
      say(`${scenario.title}:`)
      const calls = makeCalls('a customer writes', COUNT)
      const rows: Row[] = []
      for (const contender of contenders) {
        const model = `model-${index}-${contender.name[0]}`
        const row = await measure(upstream, scenario, contender, model)
        rows.push(row)
        say(
          `  ${row.name}: ${row.seconds.toFixed(1)} s (ideal ${row.idealSeconds.toFixed(1)}), ` +
            `${row.refused} 429s, ${row.failed} failed`,
        )
      }
      comparisons.push({ title: scenario.title, calls: sumOf(calls), rows })
    }
    return comparisons
  } finally {
    for (const closer of closers.reverse()) await closer()
  }
}

/** Measures one client on a model that none has used yet. */
async function measure(
  upstream: Upstream,
  { granted, taken }: Scenario,
  { name, run }: Contender,
  model: string,
): Promise<Row> {
  const limits: Limits = {
    requests_per_minute: LIMITS.requests_per_minute * granted,
    tokens_per_minute: LIMITS.tokens_per_minute * granted,
  }
  const calls = makeCalls(model, COUNT)
  await upstream.setLimits(model, limits)
  const flownIn = await upstream.empty(model, limits)

  const before = await upstream.state()
  const startedAt = Date.now()
  const secondClient: SecondClient | null = taken > 0 ? startSecondClient(upstream, model, taken) : null
  const { answered, failed } = await run(upstream.url, model, calls)
  const seconds = (Date.now() - startedAt) / 1000
  const after = await upstream.state()
  const second = secondClient === null ? null : await secondClient.stop()

  const from = Math.ceil(startedAt / 1000) + LEARNED_SECONDS
  const to = Math.floor(startedAt / 1000 + seconds - LONGEST_ANSWER_SECONDS)
  return {
    name,
    answered,
    failed,
    seconds,
    idealSeconds: findIdeal(sumOf(calls), grantOf(limits, flownIn), granted - taken),
    refused: rejectedBetween(before, after) - (second?.refused ?? 0),
    shares: sharesOf(admittedBetween(before, after), limits, seconds),
    lateShares: to - from < LEAST_SECONDS ? null : sharesDuring(after.timeline, limits, from, to),
    second,
  }
}

/**
 * Seconds until the last answer if every call left when the limits first allow it; `atOnce` is available from the
 * start.
 */
function findIdeal(amount: Amount, atOnce: Amount, share: number): number {
  const rest = { requests: amount.requests - atOnce.requests, tokens: amount.tokens - atOnce.tokens }
  const rate: Limits = {
    requests_per_minute: LIMITS.requests_per_minute * share,
    tokens_per_minute: LIMITS.tokens_per_minute * share,
  }
  return secondsOf(rest, rate) + LATENCY.mean / 1000
}

function runThrough(sluice: Sluice): Client {
  return async (_url, model, calls) => {
    await sluice.submit('noisy', model, model, calls)
    const jobs = await sluice.waitFor('noisy', model, calls.length)
    const answered = jobs.filter((job) => job.status === 'completed').length
    return { answered, failed: jobs.length - answered }
  }
}
