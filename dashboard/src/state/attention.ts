import { countOf, describePause, formatCount, formatDuration, formatShare, formatUsd } from '../format.ts'
import type { Failure, Lane, Overview, Tenant } from '../wire.ts'
import { countStuck, type ProviderTrouble, rankLanes } from './impact.ts'
import { describeBroken, judgeLane, type Tone } from './lane-health.ts'

/** What an operator can do about it. */
export type ConcernAction =
  | { kind: 'lane'; lane: Lane }
  | { kind: 'pause-lanes'; trouble: ProviderTrouble }
  | { kind: 'cancel'; tenant: string }
  | { kind: 'tenant'; tenant: Tenant }
  | { kind: 'budget' }
  | { kind: 'price' }
  | { kind: 'history' }

/** Something that an operator should look at: one line, and what to do about it. The page of its lane says why. */
export type Concern = {
  id: string
  tone: Tone
  /** A lane, a tenant, a provider, or the name of the problem. */
  subject: string
  kind: 'lane' | 'tenant' | 'provider' | 'prices' | 'history'
  text: string
  action: ConcernAction
  /** How many jobs it holds up or has failed. */
  jobs: number
}

/** A budget or a queue that is full to this share is a concern. */
const NEARLY = 0.9

/** Finds all concerns: the worst first, and of equal ones those that hold up the most jobs. */
export function findConcerns(overview: Overview): Concern[] {
  const { providers, lanes } = rankLanes(overview.lanes)
  const concerns = [
    ...providers.map(ofProvider),
    ...lanes.flatMap((lane): Concern[] => {
      const { tone, label } = judgeLane(lane)
      if (tone !== 'warn' && tone !== 'bad') return []
      const stuck = countStuck(lane)
      return [
        {
          id: `lane ${lane.id} ${label}`,
          ...{ tone, subject: lane.id, kind: 'lane' as const, jobs: stuck },
          text: `${label}${describeWaiting(stuck, ', ')}`,
          action: { kind: 'lane', lane },
        },
      ]
    }),
    ...ofTenants(overview),
    ...ofPrices(overview.unpriced),
    ...ofHistory(overview),
  ]
  return concerns.sort((a, b) => Number(b.tone === 'bad') - Number(a.tone === 'bad') || b.jobs - a.jobs)
}

/** '' if no job waits. */
const describeWaiting = (jobs: number, separator: string) =>
  jobs === 0 ? '' : `${separator}${countOf(jobs, 'job')} ${jobs === 1 ? 'waits' : 'wait'}`

function ofProvider(trouble: ProviderTrouble): Concern {
  const { id, provider, stuck, tone } = trouble
  return {
    id: `provider ${id}`,
    ...{ tone, subject: provider, kind: 'provider' as const, jobs: stuck },
    text: `${describeTrouble(trouble)}${describeWaiting(stuck, '; ')}`,
    action: { kind: 'pause-lanes', trouble },
  }
}

/** `12 lanes, all down since 14:02`, or `4 of 12 active lanes down since…`; times in the reader's zone. */
function describeTrouble(trouble: ProviderTrouble): string {
  const { lanes, activeLanes } = trouble
  const label = nameState(trouble)
  const which =
    lanes.length === activeLanes
      ? `${countOf(lanes.length, 'lane')}, all ${label}`
      : `${formatCount(lanes.length)} of ${countOf(activeLanes, 'active lane')} ${label}`
  return `${which}${describeSince(trouble)}`
}

/** The state of the lanes alone: a provider is not down if other lanes of it are up. */
export const nameState = ({ label }: ProviderTrouble) => (label === 'provider down' ? 'down' : label)

/** ` since 14:02` in the reader's time zone; '' if it is not known. */
export function describeSince({ since }: ProviderTrouble): string {
  if (since === null) return ''
  return ` since ${new Date(since).toLocaleTimeString('en-GB', { hour: '2-digit', minute: '2-digit' })}`
}

/** Says why the lanes are in trouble, as a sentence; null: not known. */
export function explainTrouble({ label, lanes, lastBroken }: ProviderTrouble): string | null {
  if (label === 'paused') return `Paused: ${describePause(lanes[0]!.paused_reason)}`
  return lastBroken === null ? null : `Last error ${describeBroken(lastBroken)}`
}

function ofTenants({ tenants }: Overview): Concern[] {
  const concerns: Concern[] = []
  for (const tenant of tenants) {
    const { budget_usd_per_day: budget, spent_usd: spent, reserved_usd: reserved, max_queued: most } = tenant
    const open = tenant.counts.queued + tenant.counts.scheduled + tenant.counts.running
    if (budget !== null && spent + reserved >= NEARLY * budget) {
      const isOut = spent + reserved >= budget
      concerns.push({
        id: `budget ${tenant.id} ${isOut}`,
        ...{ tone: isOut ? 'bad' : 'warn', subject: tenant.id, kind: 'tenant', jobs: open },
        text: `${formatShare((spent + reserved) / budget)} of today’s budget of ${formatUsd(budget)} is spent or reserved`,
        action: { kind: 'budget' },
      })
    }
    if (tenant.paused_until !== null) {
      concerns.push({
        id: `pause ${tenant.id}`,
        ...{ tone: 'warn', subject: tenant.id, kind: 'tenant', jobs: open },
        text: `paused: ${describePause(tenant.paused_reason)}${describeWaiting(open, '; ')}`,
        action: { kind: 'tenant', tenant },
      })
    }
    if (most !== null && open >= NEARLY * most) {
      const isFull = open >= most
      concerns.push({
        id: `queue ${tenant.id} ${isFull}`,
        ...{ tone: isFull ? 'bad' : 'warn', subject: tenant.id, kind: 'tenant', jobs: open },
        text: `${formatCount(open)} of at most ${formatCount(most)} jobs are open${isFull ? '; new ones are refused' : ''}`,
        action: { kind: 'cancel', tenant: tenant.id },
      })
    }
  }
  return concerns
}

/** The failed jobs of one error, over all lanes and tenants. */
export type FailureSum = { code: string; count: number; lanes: string[]; tenants: string[]; lastAt: string }

/** The most frequent first. */
export function sumFailures(failures: readonly Failure[]): FailureSum[] {
  return [...Map.groupBy(failures, ({ code }) => code)]
    .map(([code, own]) => ({
      code,
      count: own.reduce((sum, one) => sum + one.count, 0),
      lanes: [...new Set(own.map(({ lane }) => lane))],
      tenants: [...new Set(own.map(({ tenant }) => tenant))],
      lastAt: own
        .map((one) => one.last_at)
        .sort()
        .at(-1)!,
    }))
    .sort((one, other) => other.count - one.count)
}

/** Finished jobs usually wait less than a second for the history. A longer wait than this is a concern, ms. */
const LATE_MS = 60_000

function ofHistory({ history, at }: Overview): Concern[] {
  if (!history) return []
  const { status, unavailable_since: since, fails, error } = history
  const { waiting_jobs: waiting, waiting_since: waitingSince } = history
  const isAway = status === 'unavailable'
  const lateMs = waitingSince === null ? 0 : Date.parse(at) - Date.parse(waitingSince)
  if (!isAway && lateMs < LATE_MS) return []
  const jobs = `${countOf(waiting, 'finished job')} ${waiting === 1 ? 'waits' : 'wait'} in Redis`
  return [
    {
      id: `history ${fails ?? isAway}`,
      tone: isAway ? 'bad' : 'warn',
      subject: 'history',
      kind: 'history',
      jobs: waiting,
      text: isAway
        ? `its database ${fails === 'writes' ? `takes no jobs${error ? ` (${error})` : ''}` : 'does not answer'}${since === null ? '' : ` for ${formatDuration(Date.parse(at) - Date.parse(since))}`}; ${jobs}`
        : `${jobs} to be copied, the first for ${formatDuration(lateMs)}`,
      action: { kind: 'history' },
    },
  ]
}

/** One concern for all lanes without a price: the remedy is the same, in one file. */
function ofPrices(unpriced: Overview['unpriced']): Concern[] {
  if (unpriced.length === 0) return []
  const budgets = [...new Set(unpriced.flatMap((one) => one.budgets))]
  const [first] = unpriced
  const has = unpriced.length === 1 ? 'has' : 'have'
  return [
    {
      id: 'prices',
      tone: 'warn',
      subject: unpriced.length === 1 ? first!.lane : countOf(unpriced.length, 'lane'),
      kind: 'prices',
      jobs: 0,
      text:
        budgets.length === 0
          ? `${has} no price: the costs of their calls are not known`
          : `${has} no price: the budgets of ${budgets.join(', ')} do not count their calls`,
      action: { kind: 'price' },
    },
  ]
}
