import { BAND_SECONDS, type Band, type FairState, tagEntries } from './fairness.ts'

/** Where an entry stands: its start tag and its band. */
export type Standing = { start: number; band: Band }

/**
 * Seconds of service that the lane gives before it comes to an entry: for every tenant and band what is queued with
 * an earlier tag, times its weight. Exact as far as the tags are: what is queued of a tenant reaches from the
 * virtual time to the end of its last entry without a gap.
 *
 * @param weightOf the tenant's weight
 */
export function secondsAhead(
  state: FairState,
  entry: Standing,
  weightOf: (tenant: string) => number,
): number {
  const turn = entry.start + BAND_SECONDS[entry.band]
  let seconds = 0
  for (const [key, end] of state.ends) {
    const colon = key.indexOf(':')
    const band = key.slice(0, colon) as Band
    const upTo = Math.min(end, turn - BAND_SECONDS[band])
    if (upTo > state.v) seconds += (upTo - state.v) * weightOf(key.slice(colon + 1))
  }
  return seconds
}

/** Where an entry would stand if it were queued now. */
export function standingOfNewcomer(state: FairState, tenant: string, band: Band): Standing {
  const copy: FairState = { v: state.v, ends: new Map(state.ends) }
  const [start] = tagEntries(copy, [{ tenant, band, seconds: 0, weight: 1 }])
  return { start: start!, band }
}
