import type { Lane } from '../../config/lanes.ts'
import { tokenCountingOf } from '../../providers/accounting.ts'
import type { LaneState } from '../../ratelimit/lane-state.ts'

/**
 * What a call counts in the end. `configured`: as the kind of the provider does, `auto` where that does not tell. `learned`: what the lane
 * has found out, null where there is nothing to learn, or nothing was told yet.
 */
export type TokenCountingView = {
  configured: 'estimate' | 'used' | 'auto'
  learned: 'estimate' | 'used' | null
}

/** With sources, they may differ: what the first one that knows has found out. */
export function showTokenCounting({ kind }: Pick<Lane, 'kind'>, state: LaneState): TokenCountingView {
  const configured = tokenCountingOf(kind)
  const found = [state, ...state.sources].map(({ counting }) => counting).find((one) => one !== null) ?? null
  const learned = found === 'trying' ? 'estimate' : found
  return { configured, learned: configured === 'auto' ? learned : null }
}
