import { expect, test } from 'vitest'
import type { ProviderFailure } from '../../../providers/provider.ts'
import { FAULT_KINDS, type FaultKind } from '../../../simulator/options.ts'
import { chatBody, openSimulator } from './fixture.ts'

type Expected = Partial<ProviderFailure>

/** The adapter's result for each fault when the answer comes in one piece. */
const WHOLE: Record<FaultKind, Expected | 'ok'> = {
  400: { class: 'final', status: 400, ambiguous: false, input: true },
  401: { class: 'final', status: 401, ambiguous: false, input: false, code: 'invalid_api_key' },
  403: { class: 'final', status: 403, ambiguous: false },
  404: { class: 'final', status: 404, ambiguous: false, code: 'model_not_found' },
  408: { class: 'retryable', status: 408, ambiguous: false },
  409: { class: 'retryable', status: 409, ambiguous: false },
  413: { class: 'final', status: 413, ambiguous: false },
  422: { class: 'final', status: 422, ambiguous: false, input: true },
  429: {
    class: 'throttled',
    status: 429,
    ambiguous: false,
    code: 'rate_limit_exceeded',
    feedback: { retryAfterMs: 1000 },
  },
  498: { class: 'retryable', status: 498, ambiguous: false, code: 'capacity_exceeded' },
  500: { class: 'retryable', status: 500, ambiguous: false, code: 'server_error' },
  502: { class: 'retryable', status: 502, ambiguous: false },
  503: { class: 'retryable', status: 503, ambiguous: false, feedback: { retryAfterMs: 1000 } },
  504: { class: 'retryable', status: 504, ambiguous: false },
  529: { class: 'retryable', status: 529, ambiguous: false, code: 'overloaded_error' },
  flex_unavailable: { class: 'retryable', status: 429, ambiguous: false, code: 'resource_unavailable' },
  quota: { class: 'final', status: 429, ambiguous: false, code: 'insufficient_quota' },
  hang: { class: 'timeout', status: null, ambiguous: true, code: 'timeout' },
  slow: { class: 'timeout', status: null, ambiguous: true, code: 'timeout' },
  drip: { class: 'timeout', status: 200, ambiguous: true, code: 'timeout' },
  reset_before: { class: 'retryable', status: null, ambiguous: true, code: 'connection_error' },
  reset_after: { class: 'retryable', status: 200, ambiguous: true, code: 'connection_error' },
  garbage: { class: 'retryable', status: 200, ambiguous: true, code: 'invalid_answer' },
  wrong_shape: { class: 'retryable', status: 200, ambiguous: true, code: 'invalid_answer' },
  truncated_stream: { class: 'retryable', status: 200, ambiguous: true, code: 'invalid_answer' },
  error_in_200: { class: 'retryable', status: 200, ambiguous: false, code: 'server_error' },
  error_in_stream: { class: 'retryable', status: 200, ambiguous: false, code: 'server_error' },
  huge: { class: 'final', status: 200, code: 'answer_too_large', ambiguous: true },
  endless: { class: 'final', status: 200, code: 'answer_too_large', ambiguous: true },
}
/** Where a stream fails differently. */
const STREAMED: Partial<Record<FaultKind, Expected>> = {
  truncated_stream: { class: 'retryable', status: 200, ambiguous: true, code: 'truncated_stream' },
  error_in_stream: { class: 'retryable', status: 200, ambiguous: true, code: 'server_error' },
}

const MODES = [
  ['chat', false],
  ['chat', true],
  ['response', false],
  ['response', true],
  ['embedding', false],
] as const
const CASES = MODES.flatMap(([type, stream]) => FAULT_KINDS.map((kind) => [kind, type, stream] as const))

test.each(CASES)(
  'the fault %s of a %s (stream: %s) is classified and leaves no call behind',
  async (kind, type, stream) => {
    const { ask, simulator } = await openSimulator(
      { hugeBytes: 4 * 1024 * 1024, outputTokens: 64 },
      { maxAnswerBytes: 1024 * 1024 },
    )
    const prompt = `a prompt with [[fault:${kind}:times=1]]`
    const body =
      type === 'chat'
        ? chatBody(prompt, { stream })
        : type === 'response'
          ? { input: prompt, stream }
          : { input: prompt }
    const answer = await ask({
      type,
      body,
      timeoutMs: kind === 'hang' || kind === 'slow' || kind === 'drip' ? 150 : 10_000,
    })
    const expected = (stream && STREAMED[kind]) || WHOLE[kind]
    const { feedback, ...failure } = expected as Expected
    expect(answer).toMatchObject({ ok: false, ...failure })
    if (feedback) expect(answer.feedback).toMatchObject(feedback)
    expect(answer).not.toHaveProperty('body')

    const again = await ask({ type, body })
    expect(again).toMatchObject({ ok: true, status: 200 })
    await expect.poll(() => simulator.state().in_flight).toBe(0)
    expect(simulator.state().faults).toEqual({ [kind]: 1 })
  },
)

test('a slow or dripping answer that arrives in time is an answer', async () => {
  const { ask } = await openSimulator()
  for (const fault of ['slow:ms=50', 'drip:ms=1']) {
    expect((await ask({ body: chatBody(`[[fault:${fault}]]`) })).ok).toBe(true)
    expect((await ask({ body: chatBody(`[[fault:${fault}]]`, { stream: true }) })).ok).toBe(true)
  }
})
