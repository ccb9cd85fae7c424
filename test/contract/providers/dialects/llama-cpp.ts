import type { DialectFacts } from './facts.ts'

export const facts: DialectFacts = {
  name: 'llama.cpp',
  provider: 'llama.cpp',
  reported: 'ggml-org/llama.cpp#15780, ggml-org/llama.cpp#19774',
  sends:
    'Errors with a number for a code, `exceed_context_size_error` as 400 or 500; `created` may move on while the stream does.',
  right: 'A request that is too long is not sent again; the first `created` stands.',
}
