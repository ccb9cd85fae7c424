import type { DialectFacts } from './facts.ts'

export const facts: DialectFacts = {
  name: 'gemini',
  provider: 'Gemini, OpenAI-compatible',
  reported: 'samfoy/pi-session-search#13, AtomicBot-ai/atomic-agent#103, n4ze3m/page-assist#406',
  sends:
    'The role in every chunk; tool calls whole and without an index; the first vector without its index; errors in a list.',
  right: 'Calls are told apart by their ids; the first vector is input 0; the error is read from its list.',
}
