import type { DialectFacts } from './facts.ts'

export const facts: DialectFacts = {
  name: 'openai',
  provider: 'OpenAI',
  reported: 'OpenAI API reference (chat chunks), ENTERPILOT/GoModel#46, openai/openai-ruby#484',
  sends:
    'Padding (`obfuscation`) and `service_tier` in every chunk; a usage of null, then the usage in a last chunk without a choice.',
  right: 'The usage is counted. Streams pass the padding on, and the stored answer leaves it out.',
}
