import type { Lane } from '../../config/lanes.ts'
import type { Tenant } from '../../config/tenants.ts'
import type { BookedCall } from '../../jobs/book-call.ts'
import { toWindows } from '../../jobs/budgets.ts'
import type { JobCost } from '../../jobs/job-cost.ts'
import { estimateMoney } from '../../jobs/money.ts'
import { priceUsage } from '../../providers/accounting.ts'
import { readServedTier, readUsage } from '../../providers/read-usage.ts'
import type { StateAnswer } from '../../providers/state-requests.ts'
import type { ApiDeps, TenantAccess } from '../deps.ts'
import { ApiError } from '../errors.ts'
import { describeShortage } from '../jobs/refusals.ts'

type Booked = Extract<BookedCall, { kind: 'booked' }>

/**
 * Books the possible cost of a request that is not a job, in the budgets of its tenant and its key. Null: its lane has no price. Throws
 * `budget_exhausted`, and `invalid_request` if a budget needs a price.
 */
export async function bookCall(
  tenant: Tenant,
  lane: Lane,
  cost: JobCost,
  { tenants: { budgets }, now }: { tenants: Pick<TenantAccess, 'budgets'> } & Pick<ApiDeps, 'now'>,
): Promise<Booked | null> {
  const { name, limits, payers = [], budgetRules } = tenant
  const windows = [
    ...toWindows({ owner: 'tenant', name: null }, limits.budgets ?? [], now()),
    ...payers.flatMap((payer) => toWindows({ owner: 'key', name: payer.key }, payer.budgets, now())),
  ]
  const dailyUsd = limits.budget_usd_per_day ?? null
  if (lane.price === null) {
    if (budgetRules.unknownPrice === 'allow' || (windows.length === 0 && dailyUsd === null)) return null
    throw new ApiError('invalid_request', `body.model: ${lane.id} has no price, and a budget counts`, {
      param: 'body.model',
    })
  }
  const { estimateUsd, openOutput } = estimateMoney(lane, cost)
  const open =
    openOutput === undefined ? 0 : openOutput.usdPerToken * openOutput.unlearned * openOutput.choices
  const { operationsUrl } = budgetRules
  const booked = await budgets.bookCall(name, { dailyUsd, windows, operationsUrl }, estimateUsd + open)
  if (booked.kind === 'booked') return booked
  throw new ApiError('budget_exhausted', describeShortage(booked.shortage), {
    retryAfterSeconds: booked.waitMs === null ? null : Math.min(600, Math.max(1, booked.waitMs / 1000)),
  })
}

/** The cost of an answer, USD; null: unknown. */
export function costOfAnswer(lane: Lane, answer: StateAnswer): number | null {
  // Without an answer the provider may have done the work. A refusal costs nothing.
  if (!answer.ok) return answer.status === null ? null : 0
  const usage = readUsage(answer.body)
  if (usage === null || lane.price === null) return null
  return priceUsage(lane.price, usage, readServedTier(answer.body) ?? 'standard')
}
