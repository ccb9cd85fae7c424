import type { DialectFacts } from './facts.ts'

export const facts: DialectFacts = {
  name: 'voyage',
  provider: 'Voyage',
  reported: 'GottZ/ctx#14, garrytan/gbrain#735',
  sends: '`total_tokens` alone; errors as `{"detail": …}`.',
  right: 'It is input; the detail is read.',
}
