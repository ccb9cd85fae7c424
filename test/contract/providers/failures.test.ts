import { describe, expect, test } from 'vitest'
import { answer as reply } from '../../helpers/upstream.ts'
import { chatBody, openBench, replay } from './fixture.ts'
import { API_KEY, KINDS, type Kind } from './kinds.ts'

const CASES = KINDS.flatMap((kind) =>
  Object.entries(kind.failures).map(([name, expected]) => ({ kind, named: kind.kind, name, expected })),
)

test.each(CASES)('$name of kind $named is recognized', async ({ kind, name, expected }) => {
  const { upstream, ask } = await openBench(kind)
  replay(upstream, kind.kind, `${name}.json`)
  const failure = await ask()
  const { feedback, ...rest } = expected
  expect(failure).toMatchObject({ ok: false, ambiguous: false, ...rest })
  if (feedback) expect(failure.feedback).toEqual(feedback)
  expect(upstream.calls).toHaveLength(1)
  expect(JSON.stringify(failure)).not.toMatch(/sk-proj/)

  // The same refusal of a stream comes in the same form.
  expect(await ask({ body: chatBody({ stream: true }) })).toMatchObject({ ok: false, ...rest })
})

describe.each(KINDS)('a provider of kind $kind', (kind) => {
  test('that answers with something else gets another call', async () => {
    const { upstream, ask } = await openBench(kind)
    for (const body of ['<html>Sign in</html>', '{"choices":', '[]', '{}', '{"object":"list"}']) {
      upstream.script = (_call, response) =>
        response.writeHead(200, { 'content-type': 'application/json' }).end(body)
      expect(await ask()).toMatchObject({
        ok: false,
        class: 'retryable',
        code: 'invalid_answer',
        status: 200,
        ambiguous: true,
      })
    }
  })

  test('that hangs up gets another call, and may have done the work', async () => {
    const { upstream, ask } = await openBench(kind)
    upstream.script = (_call, response) => response.destroy()
    expect(await ask()).toMatchObject({
      class: 'retryable',
      code: 'connection_error',
      status: null,
      ambiguous: true,
    })
  })

  test('that cannot be reached has seen nothing', async () => {
    const { upstream, ask } = await openBench(kind)
    await upstream.close()
    expect(await ask()).toMatchObject({
      class: 'retryable',
      code: 'connection_error',
      status: null,
      ambiguous: false,
    })
  })

  test('is left when it does not answer in time, and when nobody needs the answer any more', async () => {
    const { upstream, ask } = await openBench(kind)
    upstream.script = () => {}
    expect(await ask({ timeoutMs: 50 })).toMatchObject({ class: 'timeout', status: null, ambiguous: true })
    await upstream.broken()
    const controller = new AbortController()
    upstream.script = () => controller.abort()
    expect(await ask({ signal: controller.signal })).toMatchObject({ class: 'aborted', ambiguous: true })
    await upstream.broken()
  })

  test('cannot make its key visible', async () => {
    const { upstream, ask } = await openBench(kind)
    const error = { type: 'odd', message: `your key ${API_KEY} is odd` }
    upstream.script = (_call, response) => reply(response, 400, { type: 'error', error })
    expect(JSON.stringify(await ask())).not.toContain(API_KEY)
  })
})

test('the id of an Anthropic request stays with its error', async () => {
  const { upstream, ask } = await openBench(kindOf('anthropic'))
  const request_id = 'req_011CSHoEeqs5C35K2UUqR7Fy'
  replay(upstream, 'anthropic', 'overloaded.json')
  expect(await ask()).toMatchObject({ providerError: { type: 'overloaded_error', request_id } })
  replay(upstream, 'anthropic', 'error-in-stream.sse')
  expect(await ask({ body: chatBody({ stream: true }) })).toMatchObject({ providerError: { request_id } })
})

test('Azure’s reasons for filtering stay with the error', async () => {
  const { upstream, ask } = await openBench(kindOf('azure-openai'))
  replay(upstream, 'azure-openai', 'invalid.json')
  expect(await ask()).toMatchObject({
    providerError: {
      param: 'prompt',
      innererror: { content_filter_result: { violence: { filtered: true } } },
    },
  })
})

function kindOf(name: string): Kind {
  return KINDS.find((kind) => kind.kind === name)!
}
