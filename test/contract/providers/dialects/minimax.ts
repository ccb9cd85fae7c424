import type { DialectFacts } from './facts.ts'

export const facts: DialectFacts = {
  name: 'minimax',
  provider: 'MiniMax',
  reported: 'MiniMax-AI/MiniMax-M2.5#2, ENTERPILOT/GoModel#1068',
  sends:
    'An empty role and a usage of zero in every chunk; the whole message again in the last one; errors in `base_resp` with a 200.',
  right: 'The message appears once. The real usage is counted. The error is a failure.',
}
