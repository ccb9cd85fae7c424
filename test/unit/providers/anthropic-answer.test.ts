import type { StopReason } from '@anthropic-ai/sdk/resources/messages'
import { expect, test } from 'vitest'
import { FINISH_REASONS } from '../../../providers/anthropic-answer.ts'

/** A new reason of the SDK's does not compile here until it is named. */
const known: Record<StopReason, true> = {
  end_turn: true,
  stop_sequence: true,
  pause_turn: true,
  max_tokens: true,
  model_context_window_exceeded: true,
  tool_use: true,
  refusal: true,
}

test("every reason that Anthropic's SDK knows has a counterpart of OpenAI's", () => {
  expect(Object.keys(FINISH_REASONS).sort()).toEqual(Object.keys(known).sort())
})
