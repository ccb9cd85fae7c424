import type { DialectFacts } from './facts.ts'

export const facts: DialectFacts = {
  name: 'minimax',
  provider: 'MiniMax',
  reported: 'MiniMax-AI/MiniMax-M2.5#2, ENTERPILOT/GoModel#1068',
  sends:
    'An empty role and a usage of zero in every chunk; the whole message again in the last; errors with a 200 in `base_resp`.',
  right: 'The message once; the usage that counts; the error is a failure.',
}
