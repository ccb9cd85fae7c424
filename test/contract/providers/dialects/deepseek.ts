import type { DialectFacts } from './facts.ts'

export const facts: DialectFacts = {
  name: 'deepseek',
  provider: 'DeepSeek',
  reported: 'DeepSeek API, "Rate Limit" (keep-alive comments)',
  sends: 'Comments between events; `reasoning_content: null` in every delta.',
  right: 'Comments are skipped. A null adds nothing.',
}
