import type { DialectFacts } from './facts.ts'

export const facts: DialectFacts = {
  name: 'azure',
  provider: 'Azure OpenAI',
  reported: 'Azure OpenAI, "Content streaming" (asynchronous filter)',
  sends:
    'The first chunk has no choice and an empty id and model. The last has `content_filter_offsets`, an empty id and model, and no delta.',
  right: 'The first id and model that are not empty count. Every chunk that clients see has a delta.',
}
