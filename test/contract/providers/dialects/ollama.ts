import type { DialectFacts } from './facts.ts'

export const facts: DialectFacts = {
  name: 'ollama',
  provider: 'Ollama',
  reported: 'ollama/ollama#15457, ollama/ollama#7881',
  sends: 'Every tool call complete and at index 0.',
  right: 'A new id begins a new call.',
}
