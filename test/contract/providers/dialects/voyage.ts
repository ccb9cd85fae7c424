import type { DialectFacts } from './facts.ts'

export const facts: DialectFacts = {
  name: 'voyage',
  provider: 'Voyage',
  reported: 'GottZ/ctx#14, garrytan/gbrain#735',
  sends: 'Only `total_tokens`; errors as `{"detail": …}`.',
  right: 'The tokens count as input. The detail is read.',
}
