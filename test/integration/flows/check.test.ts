import { readFileSync } from 'node:fs'
import { expect, it, onTestFinished } from 'vitest'
import { parse } from 'yaml'
import { createTestApi } from '../../helpers/api.ts'

const say = (content: unknown, members: object = {}) => ({
  job: { type: 'chat', body: { model: 'openai/small', messages: [{ role: 'user', content }], ...members } },
})

/** The fault, its place, and what the message has to say. */
const FAULTS: [string, object, string, RegExp][] = [
  ['no steps', {}, 'steps', /at least one step/],
  [
    'a cycle',
    {
      a: { needs: ['b'], ...say('x') },
      b: { ...say('${{ steps.c.result }}') },
      c: { needs: ['a'], ...say('x') },
    },
    'steps.a',
    /cycle: a → b → c → a/,
  ],
  ['a step that needs itself', { a: { needs: ['a'], ...say('x') } }, 'steps.a', /itself/],
  ['an unknown step in needs', { a: { needs: ['nope'], ...say('x') } }, 'steps.a.needs[0]', /no step "nope"/],
  [
    'an unknown step',
    { a: say('${{ steps.nope.result }}') },
    'steps.a.job.body.messages[0].content',
    /no step "nope"/,
  ],
  [
    'an unknown member of a step',
    { a: say('x'), b: say('${{ steps.a.outcome }}') },
    'steps.b.job.body.messages[0].content',
    /unknown member/,
  ],
  [
    'a signal of a step that waits for none',
    { a: say('x'), b: { when: '${{ steps.a.signal }}', ...say('x') } },
    'steps.b.when',
    /does not wait for a signal/,
  ],
  [
    'an unknown member of the input',
    { a: say('${{ input.nope }}') },
    'steps.a.job.body.messages[0].content',
    /no member "nope"/,
  ],
  [
    'an unknown function',
    { a: say('${{ frobnicate(input) }}') },
    'steps.a.job.body.messages[0].content',
    /unknown function frobnicate/,
  ],
  [
    'an unknown name',
    { a: say('${{ secrets.key }}') },
    'steps.a.job.body.messages[0].content',
    /unknown name "secrets"/,
  ],
  [
    'an expression in a name',
    { a: { job: { type: 'chat', body: { model: 'openai/small', '${{ input.t }}': 1 } } } },
    'steps.a.job.body["${{ input.t }}"]',
    /name cannot contain an expression/,
  ],
  [
    'an expression that is not JMESPath',
    { a: say('${{ input..x }}') },
    'steps.a.job.body.messages[0].content',
    /not valid JMESPath/,
  ],
  [
    'an expression without an end',
    { a: say('${{ input') },
    'steps.a.job.body.messages[0].content',
    /without a closing "}}"/,
  ],
  ['item without for_each', { a: say('${{ item }}') }, 'steps.a.job.body.messages[0].content', /for_each/],
  [
    'all steps at once',
    { a: say('${{ steps.*.result }}') },
    'steps.a.job.body.messages[0].content',
    /name the step/,
  ],
  ['an input that is no list', { a: { for_each: '${{ input }}', ...say('x') } }, 'steps.a.for_each', /list/],
  [
    'a list that is too long',
    { a: { for_each: Array(10_001).fill(1), ...say('x') } },
    'steps.a.for_each',
    /10001 elements/,
  ],
  [
    'a model that there is not',
    { a: say('x', { model: 'openai/none' }) },
    'steps.a.job.body.model',
    /no model/,
  ],
  [
    'a job without messages',
    { a: { job: { type: 'chat', body: { model: 'openai/small' } } } },
    'steps.a.job.body.messages',
    /is required/,
  ],
  [
    'a wrong role behind an expression',
    {
      a: {
        job: {
          type: 'chat',
          body: { model: 'openai/small', messages: [{ role: 5, content: '${{ input.t }}' }] },
        },
      },
    },
    'steps.a.job.body.messages[0].role',
    /expected/,
  ],
  [
    'a wrong type that an expression of the input brings',
    { a: say('x', { messages: '${{ input.t }}' }) },
    'steps.a.job.body.messages',
    /expected array/,
  ],
  ['a job too large for its lane', { a: say('x'.repeat(60_000)) }, 'steps.a.job.body', /admits/],
  [
    'a bad element',
    { a: { for_each: [{ role: 'user' }, 2], ...say('x', { messages: '${{ item }}' }) } },
    'steps.a.job.body.messages',
    /expected array/,
  ],
  ['a job and a signal', { a: { ...say('x'), wait_for_signal: {} } }, 'steps.a', /one of them/],
  ['neither', { a: { needs: [] } }, 'steps.a', /job or wait_for_signal/],
  [
    'an invalid timeout',
    { a: { wait_for_signal: { timeout: 'soon' } } },
    'steps.a.wait_for_signal.timeout',
    /duration/,
  ],
  [
    'max_in_flight without for_each',
    { a: { max_in_flight: 2, ...say('x') } },
    'steps.a.max_in_flight',
    /for_each/,
  ],
  [
    'an unknown member',
    { a: { depends_on: ['b'], ...say('x') } },
    'steps.a.depends_on',
    /not a member known here/,
  ],
  ['a name that is none', { 'a b': say('x') }, 'steps["a b"]', /letters/],
  [
    'more than its expressions may come to together',
    { a: say('${{ input.t }}${{ [input.t, input.t] }}'.repeat(9_000)) },
    'steps.a.job.body.messages[0].content',
    /larger value than allowed, together/,
  ],
  [
    'more than its expressions may look at, step by step',
    Object.fromEntries(
      Array.from({ length: 900 }, (_, at) => [`s${at}`, say('${{ length(sort(input.list)) }}')]),
    ),
    'steps.s',
    /more work than the check of a flow/,
  ],
  [
    'more steps than may be',
    Object.fromEntries(Array.from({ length: 1001 }, (_, at) => [`s${at}`, say('x')])),
    'steps',
    /1001 steps/,
  ],
]

it('evaluates known values once, so that a flow that can run is not refused', async () => {
  const api = await createTestApi()
  onTestFinished(api.close)
  const { status, body } = await post(api, {
    name: 'many',
    input: { list: Array.from({ length: 10_000 }, (_, at) => at) },
    steps: Object.fromEntries(
      Array.from({ length: 400 }, (_, at) => [`s${at}`, say('${{ length(sort(input.list)) }}')]),
    ),
  })
  expect(status, JSON.stringify(body)).toBeLessThan(300)
})

it('refuses at once what could never run, and names the place', async () => {
  const api = await createTestApi()
  onTestFinished(api.close)
  for (const [what, steps, param, message] of FAULTS) {
    const { status, body } = await post<{ error: { param: string; message: string; code: string } }>(api, {
      name: 'faulty',
      input: { t: 'text'.repeat(500), list: Array.from({ length: 10_000 }, (_, at) => at) },
      steps,
    })
    expect({ what, status, ...body.error }).toMatchObject({
      what,
      status: 400,
      param: param.endsWith('.s') ? expect.stringContaining(param) : param,
      code: 'invalid_request',
    })
    expect(body.error.message, what).toMatch(message)
    expect(body.error.message, what).toMatch(/^[a-z]/)
  }
  const list = await api.app.inject('/v1/flows')
  expect(list.json().data).toEqual([])
})

it('accepts what may be right for some type of a later value', async () => {
  const api = await createTestApi()
  onTestFinished(api.close)
  const read = '${{ steps.a.result.metadata.x }}'
  const steps = {
    a: say('x'),
    text: say(read),
    number: say('x', { max_tokens: read, temperature: read }),
    list: { job: { type: 'chat', body: { model: 'openai/small', messages: read } } },
    model: { job: { type: 'chat', body: { model: read, messages: [{ role: 'user', content: 'x' }] } } },
    object: say('x', { metadata: read, stream: read }),
    meta: { job: { ...(say('x').job as object), metadata: { from: read }, priority: read } },
    default: say("${{ input.tone || 'formal' }} ${{ not_null(input.tone, `1`) }}"),
    each: { for_each: read, ...say('${{ item.name }} ${{ index }}') },
  }
  const { status, body } = await post(api, { name: 'may', input: {}, steps })
  expect(status, JSON.stringify(body)).toBe(202)
})

async function post<Body = object>(api: Awaited<ReturnType<typeof createTestApi>>, payload: object) {
  const reply = await api.app.inject({ method: 'POST', url: '/v1/flows', payload })
  return { status: reply.statusCode, body: reply.json() as Body }
}

it('accepts the flow that the README shows', async () => {
  const readme = readFileSync(new URL('../../../README.md', import.meta.url), 'utf8')
  const [, text] = /^```yaml\n(name: report.*?)^```$/ms.exec(readme)!
  const house = await createTestApi()
  onTestFinished(() => house.close())
  const payload = parse(text!.replaceAll('model: fast', 'model: openai/small'))
  const answer = await house.app.inject({ method: 'POST', url: '/v1/flows', payload })
  expect(answer.statusCode, answer.body).toBe(202)
  expect(Object.keys(answer.json().steps)).toEqual(['outline', 'chapters', 'approve'])
})
