import type { DialectFacts } from './facts.ts'

export const facts: DialectFacts = {
  name: 'dashscope',
  provider: 'DashScope (Qwen)',
  reported: 'symfony/ai#2220, langchain-ai/langchain#39335',
  sends: 'Later pieces of a tool call repeat `id`, `type` and name as empty strings.',
  right: 'The call keeps its id and name.',
}
