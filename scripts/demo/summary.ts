import type { Job } from '../../client/index.ts'
import { priceUsage } from '../../providers/accounting.ts'
import type { BilledCall, SimulatorState, TimelineEntry } from '../../simulator/state.ts'
import { isMeantToFail } from './load.ts'
import { chatLimits, prices } from './stack.ts'

/** What one provider saw; the demo trusts it more than Sluice. */
export type ProviderView = { state: SimulatorState; calls: BilledCall[] }

export type Observed = {
  chats: Job[]
  embeddings: Job[]
  streamed: Job[]
  chatProvider: ProviderView
  embeddingProvider: ProviderView
}

export type Row = {
  jobs: number
  answered: number
  failed: number
  /** From submission to the answer, ms. */
  waitP50: number
  waitP95: number
}

export type Summary = {
  rows: { chats: Row; embeddings: Row; streamed: Row }
  jobs: number
  /** HTTP requests that reached a provider. */
  calls: number
  embeddingJobs: number
  embeddingCalls: number
  shared: number
  cached: number
  retried: number
  /** Calls that the provider failed on purpose. */
  faults: number
  rejections: number
  /** Chat prompts on the provider's bill more than once. */
  paidTwice: number
  limit: { seconds: number; requests: number; tokens: number }
  costUsd: number
  costWithoutSharingUsd: number
  /** The claims of the demo that did not hold; empty: all is well. */
  broken: string[]
}

/** Works out the numbers of the closing table. */
export function summarize(observed: Observed): Summary {
  const { chats, embeddings, streamed, chatProvider, embeddingProvider } = observed
  const jobs = [...chats, ...streamed, ...embeddings]
  const chatCalls = chatProvider.calls.length
  const summary: Omit<Summary, 'broken'> = {
    rows: { chats: toRow(chats), embeddings: toRow(embeddings), streamed: toRow(streamed) },
    jobs: jobs.length,
    calls: chatProvider.state.calls + embeddingProvider.state.calls,
    embeddingJobs: embeddings.length,
    embeddingCalls: embeddingProvider.state.calls,
    shared: jobs.filter((job) => job.cache === 'shared').length,
    cached: jobs.filter((job) => job.cache === 'hit').length,
    retried: jobs.filter((job) => job.attempts > 1).length,
    faults: sum(Object.values(chatProvider.state.faults)),
    rejections: countRejections(chatProvider.state) + countRejections(embeddingProvider.state),
    paidTwice: chatCalls - new Set(chatProvider.calls.map((call) => call.prompt_hash)).size,
    limit: measureLimit(chatProvider.state.timeline),
    costUsd: sum(jobs.map((job) => job.cost_usd ?? 0)),
    costWithoutSharingUsd: sum(jobs.map(priceAlone)),
  }
  return { ...summary, broken: findBroken(jobs, summary) }
}

function findBroken(jobs: Job[], summary: Omit<Summary, 'broken'>): string[] {
  const broken: string[] = []
  const open = jobs.filter((job) => job.finished_at === null)
  if (open.length > 0) broken.push(`${open.length} jobs have not ended, ${open[0]!.id} among them`)
  const failed = jobs.filter((job) => job.status === 'failed' && !isMeantToFail(job))
  if (failed.length > 0)
    broken.push(
      `${failed.length} jobs failed that should not have: ${failed[0]!.id}, ${failed[0]!.error?.message}`,
    )
  const meant = jobs.filter((job) => job.status === 'failed' && isMeantToFail(job)).length
  if (meant !== 1) broken.push(`${meant} jobs were refused for their input, where one is poisoned`)
  if (summary.rejections > 0) broken.push(`the providers answered 429 ${summary.rejections} times`)
  if (summary.paidTwice > 0) broken.push(`${summary.paidTwice} prompts are on the bill twice`)
  return broken
}

/** 429s for their limits, and 429s of any other kind, which the demo does not ask for. */
function countRejections(state: SimulatorState): number {
  const answered = Object.values(state.by_path).map((statuses) => statuses['429'] ?? 0)
  return Math.max(sum(answered), sum(Object.values(state.rejected)))
}

/**
 * The share of the chat limit that was used while there was enough to do: over the full seconds between the first and
 * the last second in which at least half of the limit was used.
 */
export function measureLimit(timeline: TimelineEntry[]): Summary['limit'] {
  const perSecond = {
    requests: chatLimits.requests_per_minute / 60,
    tokens: chatLimits.tokens_per_minute / 60,
  }
  const isBusy = (entry: TimelineEntry) => entry.requests >= perSecond.requests / 2
  const first = timeline.find(isBusy)?.second ?? 0
  const last = timeline.findLast(isBusy)?.second ?? 0
  const seconds = Math.max(0, last - first - 1)
  const between = timeline.filter(({ second }) => second > first && second < last)
  const share = (used: number, rate: number) => (seconds === 0 ? 0 : used / (seconds * rate))
  return {
    seconds,
    requests: share(sum(between.map((entry) => entry.requests)), perSecond.requests),
    tokens: share(sum(between.map((entry) => entry.tokens)), perSecond.tokens),
  }
}

function toRow(jobs: Job[]): Row {
  const waits = jobs
    .filter((job) => job.finished_at !== null)
    .map((job) => Date.parse(job.finished_at!) - Date.parse(job.created_at))
    .sort((a, b) => a - b)
  return {
    jobs: jobs.length,
    answered: jobs.filter((job) => job.status === 'completed').length,
    failed: jobs.filter((job) => job.status === 'failed').length,
    waitP50: percentile(waits, 0.5),
    waitP95: percentile(waits, 0.95),
  }
}

/** Nearest rank; 0 for no values. */
export function percentile(sorted: number[], share: number): number {
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? 0
}

/** What a job would have cost with a call of its own. */
function priceAlone(job: Job): number {
  if (job.usage === null) return 0
  return priceUsage(job.type === 'chat' ? prices.chat : prices.embeddings, job.usage)
}

function sum(numbers: number[]): number {
  return numbers.reduce((left, right) => left + right, 0)
}
