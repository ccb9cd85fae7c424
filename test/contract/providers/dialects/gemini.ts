import type { DialectFacts } from './facts.ts'

export const facts: DialectFacts = {
  name: 'gemini',
  provider: 'Gemini, OpenAI-compatible',
  reported: 'samfoy/pi-session-search#13, AtomicBot-ai/atomic-agent#103, n4ze3m/page-assist#406',
  sends:
    'The role in every chunk; complete tool calls without an index; the first vector without its index; errors in a list.',
  right:
    'Tool calls are told apart by their ids. The first vector is input 0. The error is read from its list.',
}
