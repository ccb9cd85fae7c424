import type { DialectFacts } from './facts.ts'

export const facts: DialectFacts = {
  name: 'plain',
  provider: 'servers behind proxies',
  reported: 'vllm-project/vllm#57082 and similar reports',
  sends: 'A stream as `text/plain` with pings, empty data, and blanks after `[DONE]`.',
  right: 'It is read as a stream. Empty events are skipped.',
}
