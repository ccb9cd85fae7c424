import type { DialectFacts } from './facts.ts'

export const facts: DialectFacts = {
  name: 'vllm',
  provider: 'vLLM',
  reported: 'vllm-project/vllm#57082',
  sends: '`stop_reason` in choices; flat errors; base64 vectors refused by older versions.',
  right: 'Unknown members stay; the request goes again without base64.',
}
