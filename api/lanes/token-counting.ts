import type { Lane } from '../../config/lanes.ts'
import { tokenCountingOf } from '../../providers/accounting.ts'
import type { LaneState } from '../../ratelimit/lane-state.ts'

/**
 * What a call finally counts. `configured`: by the provider's kind; `auto` where the kind does not tell. `learned`: what the lane has
 * learned; null where there is nothing to learn, or nothing known yet.
 */
export type TokenCountingView = {
  configured: 'estimate' | 'used' | 'auto'
  learned: 'estimate' | 'used' | null
}

/** Sources may differ: the first one with a known way counts. */
export function showTokenCounting({ kind }: Pick<Lane, 'kind'>, state: LaneState): TokenCountingView {
  const configured = tokenCountingOf(kind)
  const found = [state, ...state.sources].map(({ counting }) => counting).find((one) => one !== null) ?? null
  const learned = found === 'trying' ? 'estimate' : found
  return { configured, learned: configured === 'auto' ? learned : null }
}
