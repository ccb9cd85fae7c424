import type { DialectFacts } from './facts.ts'

export const facts: DialectFacts = {
  name: 'sglang',
  provider: 'SGLang',
  reported: 'sgl-project/sglang#22535',
  sends: '`matched_stop` in choices; flat errors `{"object":"error"}`; a finish reason `abort`.',
  right: 'Unknown members stay; the error is read; what was given up is no answer.',
}
