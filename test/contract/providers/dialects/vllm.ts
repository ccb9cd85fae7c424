import type { DialectFacts } from './facts.ts'

export const facts: DialectFacts = {
  name: 'vllm',
  provider: 'vLLM',
  reported: 'vllm-project/vllm#57082',
  sends: '`stop_reason` in choices; flat errors; older versions refuse base64 vectors.',
  right: 'Unknown members are kept. The request is sent again without base64.',
}
