import type { Budget } from '../config/budget-windows.ts'
import { findWindow } from '../config/budget-windows.ts'

/** The kinds of owners of budgets. */
export const budgetOwners = ['tenant', 'key', 'fair_key', 'group', 'flow'] as const
export type BudgetOwner = (typeof budgetOwners)[number]

/** A budget of windows that follow one another, or of all time: `total`. */
export type AnyBudget = Omit<Budget, 'per'> & { per: Budget['per'] | 'total' }

/** What may be spent in a window of time. Redis' clock decides whether this window or the next one counts. */
export type BudgetWindow = AnyBudget & {
  owner: BudgetOwner
  /**
   * Id of the key, digest of the fair key, name of the group, or id of the flow; null: the tenant, or a fair key
   * without a digest yet.
   */
  name: string | null
  /** Unix ms: start and end of the window, and the end of the next one. */
  start: number
  end: number
  nextEnd: number
}

/** The end of a window that has none, in the year 9999, Unix ms. */
export const NEVER = 253_402_300_799_999

/** Budgets with their windows at an instant, Unix ms. */
export function toWindows(
  { owner, name }: Pick<BudgetWindow, 'owner' | 'name'>,
  budgets: readonly AnyBudget[],
  now: number,
): BudgetWindow[] {
  return budgets.map((budget) => {
    const { per } = budget
    const window =
      per === 'total' ? { start: 0, end: NEVER, nextEnd: NEVER } : findWindow({ ...budget, per }, now)
    return { owner, name, ...budget, ...window }
  })
}

/** The owner as it is named in keys. */
function whoseAccount(owner: BudgetOwner, name: string | null): string {
  if (owner === 'tenant') return 'tenant'
  return owner === 'key' ? (name ?? 'key') : `${owner === 'fair_key' ? 'fair' : owner}:${name}`
}

/** The key of an account below the tenant's root; see `account_key` of lua/common.lua. */
export function accountName({ owner, name, start, end }: Omit<BudgetWindow, 'usd' | 'nextEnd'>): string {
  return `${whoseAccount(owner, name)}:${start}:${end}`
}

/** A dollar is 10⁹ nano dollars. */
function usdToNano(usd: number): number {
  return Math.round(usd * 1e9)
}

/**
 * The budgets that a job counts against, in the form that create.lua reads; '' for none.
 *
 * @param dailyUsd the tenant's budget of a UTC day, USD; null: none
 * @param notify the address that gets webhooks about budgets; null: none
 */
export function encodeBudgets(
  dailyUsd: number | null,
  notify: string | null,
  windows: readonly BudgetWindow[],
): string {
  if (dailyUsd === null && windows.length === 0) return ''
  const each = windows.map(({ owner, name, usd, per, time_zone, start, end, nextEnd }) => {
    const about = JSON.stringify({ owner, name, per, time_zone }).replaceAll(' ', '\\u0020')
    return ` ${whoseAccount(owner, name)} ${usdToNano(usd)} ${start} ${end} ${nextEnd} ${about}`
  })
  return `${dailyUsd ?? '-'} ${notify ?? '-'}${each.join('')}`
}

/** A budget without room for a job, from create.lua's answer. */
export type BudgetShortage = {
  owner: BudgetOwner
  name: string | null
  per: AnyBudget['per']
  timeZone: string
  usd: number
  spentUsd: number
  reservedUsd: number
  /** What the job may cost. */
  neededUsd: number
  /** When its window ends, Unix ms; null: never. */
  endsAt: number | null
}

/** Reads what create.lua answers after `budget_exhausted` and the time to wait; null: nothing. */
export function readShortage(rest: readonly unknown[]): BudgetShortage | null {
  const [about = '', limit, spent, reserved, needed, ends = ''] = rest.map(String)
  if (about === '') return null
  const { owner, name, per, time_zone: timeZone } = JSON.parse(about)
  const [usd, spentUsd, reservedUsd, neededUsd] = [limit, spent, reserved, needed].map(
    (nano) => Number(nano) / 1e9,
  ) as [number, number, number, number]
  return {
    ...{ owner, name, per, timeZone, usd, spentUsd, reservedUsd, neededUsd },
    endsAt: ends === '' ? null : Number(ends),
  }
}

/** A budget as messages name it: `the budget of the key key_…, 5 USD a day (UTC)`. */
export function describeBudget({
  owner,
  name,
  per,
  timeZone,
  usd,
}: Pick<BudgetShortage, 'owner' | 'name' | 'per' | 'timeZone' | 'usd'>): string {
  // A fair key may be private, and its digest would tell a client nothing.
  const whose = owner === 'tenant' || owner === 'fair_key' ? '' : ` ${name}`
  const window = per === 'total' ? 'in all' : `a ${per} (${timeZone})`
  return `the budget of the ${owner.replace('_', ' ')}${whose}, ${toShortUsd(usd)} USD ${window}`
}

/** A number of USD, without meaningless digits. */
export function toShortUsd(usd: number): string {
  return String(Number(usd.toPrecision(6)))
}
