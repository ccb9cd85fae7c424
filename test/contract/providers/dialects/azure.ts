import type { DialectFacts } from './facts.ts'

export const facts: DialectFacts = {
  name: 'azure',
  provider: 'Azure OpenAI',
  reported: 'Azure OpenAI, "Content streaming" (asynchronous filter)',
  sends:
    'The first chunk has no choice and an empty id and model; the last has `content_filter_offsets`, an empty head and no delta.',
  right: 'The head that was given stands; every chunk shown has a delta.',
}
