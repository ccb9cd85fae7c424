import type { DialectFacts } from './facts.ts'

export const facts: DialectFacts = {
  name: 'moonshot',
  provider: 'Moonshot (Kimi)',
  reported: 'earendil-works/pi#2017',
  sends: 'The usage inside the last choice; rate limits as `rate_limit_reached_error`.',
  right: 'The usage is counted. The error is a rate limit.',
}
