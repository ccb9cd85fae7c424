import type { DialectFacts } from './facts.ts'

export const facts: DialectFacts = {
  name: 'openrouter',
  provider: 'OpenRouter',
  reported: 'OpenRouter, "Streaming" and "Errors"',
  sends: 'Comments between events; the upstream error in `metadata.raw`.',
  right: 'Comments are skipped. The upstream error is read.',
}
