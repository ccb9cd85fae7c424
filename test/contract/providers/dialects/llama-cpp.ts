import type { DialectFacts } from './facts.ts'

export const facts: DialectFacts = {
  name: 'llama.cpp',
  provider: 'llama.cpp',
  reported: 'ggml-org/llama.cpp#15780, ggml-org/llama.cpp#19774',
  sends:
    'Errors with a number as their code; `exceed_context_size_error` as 400 or 500; `created` may change during a stream.',
  right: 'A request that is too long is not sent again. The first `created` counts.',
}
