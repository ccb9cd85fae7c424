import type { DialectFacts } from './facts.ts'

export const facts: DialectFacts = {
  name: 'moonshot',
  provider: 'Moonshot (Kimi)',
  reported: 'earendil-works/pi#2017',
  sends: 'The usage within the last choice; errors of the rate as `rate_limit_reached_error`.',
  right: 'It is counted.',
}
