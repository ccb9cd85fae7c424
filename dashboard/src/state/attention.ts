import { countOf, describePause, formatCount, formatDuration, formatShare, formatUsd } from '../format.ts'
import type { Failure, Overview, Tenant } from '../wire.ts'
import { countStuck, type ProviderTrouble, rankLanes } from './impact.ts'
import { describeBroken, judgeLane, type Tone } from './lane-health.ts'

/** What an operator can do about it. */
export type ConcernAction =
  | { kind: 'lane'; lane: string }
  | { kind: 'resume-provider' | 'pause-provider'; provider: string }
  | { kind: 'cancel'; tenant: string }
  | { kind: 'tenant'; tenant: Tenant }
  | { kind: 'budget' }
  | { kind: 'price' }
  | { kind: 'history' }

/** Something an operator should look at. Each has one line, and what can be done about it. */
export type Concern = {
  id: string
  tone: Tone
  /** What it is about: a lane, a tenant, a provider, or the name of what is wrong. */
  subject: string
  kind: 'lane' | 'tenant' | 'provider' | 'prices' | 'history'
  text: string
  action: ConcernAction
  /** Jobs that it holds up, or that it took. */
  jobs: number
}

/** From this share of a budget or a queue on it is worth a look. */
const NEARLY = 0.9

/** What wants a person's eye, each once: the worst first, and of those what holds up most. */
export function findConcerns(overview: Overview): Concern[] {
  const { providers, lanes } = rankLanes(overview.lanes)
  const concerns = [
    ...providers.map(ofProvider),
    ...lanes.flatMap((lane): Concern[] => {
      const { tone, label, detail } = judgeLane(lane)
      if (tone !== 'warn' && tone !== 'bad') return []
      const stuck = countStuck(lane)
      return [
        {
          id: `lane ${lane.id} ${label}`,
          ...{ tone, subject: lane.id, kind: 'lane' as const, jobs: stuck },
          text: `${label}: ${detail}${stuck > 0 ? `; ${countOf(stuck, 'job')} wait` : ''}`,
          action: { kind: 'lane', lane: lane.id },
        },
      ]
    }),
    ...ofTenants(overview),
    ...ofPrices(overview.unpriced),
    ...ofHistory(overview),
  ]
  return concerns.sort((a, b) => Number(b.tone === 'bad') - Number(a.tone === 'bad') || b.jobs - a.jobs)
}

function ofProvider(trouble: ProviderTrouble): Concern {
  const { provider, label, lanes, stuck, tone } = trouble
  return {
    id: `provider ${provider} ${label}`,
    ...{ tone, subject: provider, kind: 'provider' as const, jobs: stuck },
    text: `${describeTrouble(trouble)}${stuck > 0 ? `; ${countOf(stuck, 'job')} wait` : ''}`,
    action: lanes.some((lane) => lane.paused_until !== null)
      ? { kind: 'resume-provider', provider }
      : { kind: 'pause-provider', provider },
  }
}

/** `12 lanes, all provider down since 14:02, last error 503 overloaded`; times in the reader's zone. */
export function describeTrouble({ lanes, label, since, lastBroken }: ProviderTrouble): string {
  const parts = [`${countOf(lanes.length, 'lane')}, all ${label}`]
  if (since !== null)
    parts[0] += ` since ${new Date(since).toLocaleTimeString('en-GB', { hour: '2-digit', minute: '2-digit' })}`
  if (label === 'paused' && lanes[0]!.paused_reason !== null && lastBroken === null)
    parts.push(lanes[0]!.paused_reason)
  if (lastBroken !== null) parts.push(`last error ${describeBroken(lastBroken)}`)
  return parts.join(', ')
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
        text: `paused: ${describePause(tenant.paused_reason)}${open > 0 ? `; ${countOf(open, 'job')} wait` : ''}`,
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

/** Failed jobs of one error, over all lanes and tenants. */
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

/** Finished jobs wait less than a second for the history, usually; from here on it is worth a look, ms. */
const LATE_MS = 60_000

function ofHistory({ history, at }: Overview): Concern[] {
  if (!history) return []
  const { status, unavailable_since: since, waiting_jobs: waiting, waiting_since: waitingSince } = history
  const isAway = status === 'unavailable'
  const lateMs = waitingSince === null ? 0 : Date.parse(at) - Date.parse(waitingSince)
  if (!isAway && lateMs < LATE_MS) return []
  const jobs = `${countOf(waiting, 'finished job')} ${waiting === 1 ? 'waits' : 'wait'} in Redis`
  return [
    {
      id: `history ${isAway}`,
      tone: isAway ? 'bad' : 'warn',
      subject: 'history',
      kind: 'history',
      jobs: waiting,
      text: isAway
        ? `its database does not answer${since === null ? '' : ` for ${formatDuration(Date.parse(at) - Date.parse(since))}`}; ${jobs}`
        : `${jobs} to be copied, the first for ${formatDuration(lateMs)}`,
      action: { kind: 'history' },
    },
  ]
}

/** One line for all: what is to be done is the same, and in one file. */
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
