import type { DialectFacts } from './facts.ts'

export const facts: DialectFacts = {
  name: 'sglang',
  provider: 'SGLang',
  reported: 'sgl-project/sglang#22535',
  sends: '`matched_stop` in choices; flat errors `{"object":"error"}`; the finish reason `abort`.',
  right: 'Unknown members are kept. The error is read. An aborted answer is a failure.',
}
