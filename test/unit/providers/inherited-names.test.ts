import { describe, expect, test } from 'vitest'
import { describeFailure } from '../../../api/openai/failure.ts'
import { chatDialectOf, messageToChat } from '../../../providers/message-to-chat.ts'

/** Names that every object inherits. A lookup by `table[name]` finds them all. */
const NAMES = ['constructor', 'toString', 'valueOf', 'hasOwnProperty', '__proto__']

describe('a name that every object inherits is an unknown name', () => {
  test.for(NAMES)('%s as an effort: none is sent', (effort) => {
    const message = { model: 'm', max_tokens: 1, messages: [], output_config: { effort } }
    expect(messageToChat(message, chatDialectOf('openai'))).not.toHaveProperty('reasoning_effort')
  })

  test.for(NAMES)('%s as the code of a failure: its status is 502', (code) => {
    const failed = { code, message: 'It broke.', provider_status: null, retryable: true }
    expect(describeFailure(failed).status).toBe(502)
  })
})
