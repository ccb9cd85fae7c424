import { type BudgetShortage, type BudgetWindow, encodeBudgets, readShortage } from './budgets.ts'
import type { Scripts } from './scripts.ts'

/** The budgets of a call that belongs to no job. */
export type CallBudgets = {
  /** USD a UTC day; null: not limited. */
  dailyUsd: number | null
  windows: readonly BudgetWindow[]
  /** The address that gets webhooks about budgets; null: none. */
  operationsUrl: string | null
}

/** Whether a call was booked. */
export type BookedCall =
  | {
      kind: 'booked'
      /** Replaces the estimate that was booked for the call by its cost, USD. Counts once. */
      settle(costUsd: number): Promise<void>
    }
  /** `waitMs`: time until the next window; null: there is none. */
  | { kind: 'budget_exhausted'; waitMs: number | null; shortage: BudgetShortage }

/**
 * Books calls that belong to no job. Before such a call is made, its estimated cost is booked, if its budgets have room
 * for it.
 */
export function createCallBooks(deps: { scripts: Pick<Scripts, 'run'>; rootOf: (tenant: string) => string }) {
  return async (tenant: string, budgets: CallBudgets, estimateUsd: number): Promise<BookedCall> => {
    const { dailyUsd, operationsUrl, windows } = budgets
    const text = encodeBudgets(dailyUsd, operationsUrl, windows)
    const estimate = Math.ceil(estimateUsd * 1e9)
    const run = (nano: number, accounts: string, day: string) =>
      deps.scripts.run('book-call', deps.rootOf(tenant), [text, nano, accounts, day])
    const [kind, ...rest] = ((await run(estimate, '', '')) as unknown[]).map(String)
    if (kind !== 'booked') {
      const [wait = '', ...about] = rest
      return {
        kind: 'budget_exhausted',
        waitMs: wait === '' ? null : Number(wait),
        shortage: readShortage(about)!,
      }
    }
    return {
      kind,
      async settle(costUsd) {
        const more = Math.round(costUsd * 1e9) - estimate
        const [booked = '', day = ''] = rest
        // '-': it was booked in no account, and still counts as spent.
        if (more !== 0) await run(more, booked || '-', day)
      },
    }
  }
}
