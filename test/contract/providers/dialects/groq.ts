import type { DialectFacts } from './facts.ts'

export const facts: DialectFacts = {
  name: 'groq',
  provider: 'Groq',
  reported: 'Groq API reference (`x_groq`)',
  sends: 'The usage inside `x_groq` of the last chunk.',
  right: 'The usage is counted.',
}
