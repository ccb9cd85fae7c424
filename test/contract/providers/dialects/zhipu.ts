import type { DialectFacts } from './facts.ts'

export const facts: DialectFacts = {
  name: 'zhipu',
  provider: 'Zhipu (GLM, Z.ai)',
  reported: 'Z.ai API, "Errors"; kaitranntt/ccs#536, dirge-code/dirge#818, promptfoo/promptfoo#9905',
  sends:
    'Chunks without `object`, with the role in each and the usage beside the last choice; errors that have a number as text for a code and no type, 429 for spent money (`1113`) too; finish reasons `sensitive`, `network_error`.',
  right:
    'The usage is counted; `1302` is a rate and `1113` is final; `network_error` is a failure; `sensitive` is not kept.',
}
