import type { Budget } from '../config/budget-windows.ts'
import { showCostSum } from '../lib/cost-sum.ts'
import type { FlowError, FlowStatus, FlowUsage } from './flow.ts'
import type { FlowRecord, StepCounts } from './record.ts'

/** A flow as lists show it. Times are RFC 3339 UTC with milliseconds. */
export type FlowSummary = {
  id: string
  object: 'flow'
  name: string
  status: FlowStatus
  step_counts: StepCounts
  error: FlowError | null
  usage: FlowUsage
  /** The cost of the calls whose lanes have a price, USD; null: no call has a price. */
  cost_usd: number | null
  unpriced_calls: number
  budget_usd: number | null
  budgets: Budget[]
  deadline: string | null
  group: string | null
  metadata: Record<string, string>
  retries: number
  created_at: string
  finished_at: string | null
}

/** Converts a record to what lists show. */
export function showSummary(record: FlowRecord, openError: (stored: string) => FlowError): FlowSummary {
  return {
    id: record.id,
    object: 'flow',
    name: record.name,
    status: record.status,
    step_counts: record.counts,
    error: record.error === null ? null : openError(record.error),
    usage: record.usage,
    ...showCostSum(record.costNano, record.unpricedCalls),
    budget_usd: record.budgetNano === null ? null : record.budgetNano / 1e9,
    budgets: record.budgets,
    deadline: showTime(record.deadline),
    group: record.group,
    metadata: record.metadata,
    retries: record.retries,
    created_at: showTime(record.createdAt)!,
    finished_at: showTime(record.finishedAt),
  }
}

/** Formats Unix ms as RFC 3339 UTC with milliseconds; null stays null. */
export function showTime(ms: number | null): string | null {
  return ms === null ? null : new Date(ms).toISOString()
}
