import type { DialectFacts } from './facts.ts'

export const facts: DialectFacts = {
  name: 'openrouter',
  provider: 'OpenRouter',
  reported: 'OpenRouter, "Streaming" and "Errors"',
  sends: 'Comments between events; the true words of an error in `metadata.raw`.',
  right: 'Comments are skipped; the true words are read.',
}
