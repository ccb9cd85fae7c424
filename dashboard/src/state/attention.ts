import { formatCount, formatShare, formatUsd } from '../format.ts'
import type { Overview } from '../wire.ts'
import { judgeLane, type Tone } from './lane-health.ts'

/** Something an operator should look at; `subject` names the lane or tenant. */
export type Concern = { id: string; tone: Tone; subject: string; kind: 'lane' | 'tenant'; text: string }

/** From this share of a budget or a queue on it is worth a look. */
const NEARLY = 0.9

/** What wants a person's eye, the worst first. */
export function findConcerns({ lanes, tenants, unpriced }: Overview): Concern[] {
  const concerns: Concern[] = []
  for (const lane of lanes) {
    const { tone, label, detail } = judgeLane(lane)
    if (tone === 'warn' || tone === 'bad') {
      concerns.push({
        id: `lane ${lane.id} ${label}`,
        tone,
        subject: lane.id,
        kind: 'lane',
        text: `${label}: ${detail}`,
      })
    }
  }
  for (const { lane, budgets } of unpriced) {
    concerns.push({
      id: `price ${lane}`,
      tone: 'warn',
      subject: lane,
      kind: 'lane',
      text:
        budgets.length === 0
          ? 'has no price: the costs of its calls are not known'
          : `has no price: the budgets of ${budgets.join(', ')} do not count its calls`,
    })
  }
  for (const tenant of tenants) {
    const { budget_usd_per_day: budget, spent_usd: spent, reserved_usd: reserved, max_queued: most } = tenant
    if (budget !== null && spent + reserved >= NEARLY * budget) {
      const isOut = spent + reserved >= budget
      concerns.push({
        id: `budget ${tenant.id} ${isOut}`,
        tone: isOut ? 'bad' : 'warn',
        subject: tenant.id,
        kind: 'tenant',
        text: `${formatShare((spent + reserved) / budget)} of today’s budget of ${formatUsd(budget)} is spent or reserved`,
      })
    }
    const open = tenant.counts.queued + tenant.counts.scheduled + tenant.counts.running
    if (most !== null && open >= NEARLY * most) {
      const isFull = open >= most
      concerns.push({
        id: `queue ${tenant.id} ${isFull}`,
        tone: isFull ? 'bad' : 'warn',
        subject: tenant.id,
        kind: 'tenant',
        text: `${formatCount(open)} of at most ${formatCount(most)} jobs are open${isFull ? '; new ones are refused' : ''}`,
      })
    }
  }
  return concerns.sort((a, b) => Number(b.tone === 'bad') - Number(a.tone === 'bad'))
}
