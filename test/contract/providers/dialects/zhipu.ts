import type { DialectFacts } from './facts.ts'

export const facts: DialectFacts = {
  name: 'zhipu',
  provider: 'Zhipu (GLM, Z.ai)',
  reported: 'Z.ai API, "Errors"; kaitranntt/ccs#536, dirge-code/dirge#818, promptfoo/promptfoo#9905',
  sends:
    'Chunks without `object`, with the role in each; the usage beside the last choice; errors without a type whose code is a number as text, also 429 for an empty account (`1113`); the finish reasons `sensitive` and `network_error`.',
  right:
    'The usage is counted. `1302` is a rate limit, and `1113` is final. `network_error` is a failure. A `sensitive` answer is not cached.',
}
