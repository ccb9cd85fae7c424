import type { DialectFacts } from './facts.ts'

export const facts: DialectFacts = {
  name: 'mistral',
  provider: 'Mistral',
  reported: 'BerriAI/litellm#16272, dnakov/anon-kode#53',
  sends:
    'Thinking as parts of `content`, then text as a string; tool calls without a type; 422 for `stream_options`.',
  right:
    'Thinking and text are both kept, as in an answer in one piece. The request is sent again without `stream_options`.',
}
