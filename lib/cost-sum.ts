/** The total cost of several calls. */
export type CostSum = {
  /** USD, of the calls whose lanes have a price; null: no lane has a price. */
  cost_usd: number | null
  /** Calls whose lanes have no price. */
  unpriced_calls: number
}

/** @param nano billionths of a dollar */
export function showCostSum(nano: number, unpricedCalls: number): CostSum {
  return {
    cost_usd: nano === 0 && unpricedCalls > 0 ? null : nano / 1e9,
    unpriced_calls: unpricedCalls,
  }
}
