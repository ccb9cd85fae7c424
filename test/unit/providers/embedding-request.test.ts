import fc from 'fast-check'
import { expect, test } from 'vitest'
import { decodePayload, encodeResult } from '../../../jobs/payload.ts'
import { type EmbeddingInput, normalizeInputs } from '../../../lib/embedding-input.ts'
import type { JsonObject } from '../../../lib/json.ts'
import { parseWithSource, sourceOf, stringifyJson } from '../../../lib/json-source.ts'
import {
  composeRequest,
  type EmbeddingOrder,
  isSingleAnswer,
  joinKnown,
  splitAnswer,
} from '../../../providers/embedding-request.ts'
import { renderResult } from '../../../providers/vectors.ts'

const order = (input: string | string[], members: Partial<EmbeddingOrder> = {}): EmbeddingOrder => ({
  body: { model: 'm', input },
  group: 'acme',
  ...members,
})

const entry = (text: EmbeddingInput, index: number) => ({
  object: 'embedding',
  index,
  embedding: `vector of ${text}`,
})

/** The stored vector of one input. */
const kept = (text: EmbeddingInput): JsonObject => ({
  object: 'list',
  model: 'kept',
  data: [entry(text, 0)],
  usage: { prompt_tokens: 5, total_tokens: 5 },
})

/** A provider's answer, with a token for each character. */
function answerTo(body: JsonObject): JsonObject {
  const inputs = normalizeInputs(body)!
  const tokens = inputs.reduce((sum, input) => sum + input.length, 0)
  return {
    object: 'list',
    model: 'm',
    data: inputs.map(entry),
    usage: { prompt_tokens: tokens, total_tokens: tokens },
  }
}

const vectorsOf = (answer: JsonObject) =>
  (answer.data as { index: number; embedding: string }[]).map(({ embedding }) => embedding)

test('the inputs of all orders are in one request, which asks for base64', () => {
  const orders = [
    order('a', { body: { model: 'm', user: 'u', input: 'a', encoding_format: 'float' } }),
    order('', { body: { model: 'm', user: 'u', input: ['b', 'c'] } }),
  ]
  expect(composeRequest(orders).body).toEqual({
    model: 'm',
    user: 'u',
    input: ['a', 'b', 'c'],
    encoding_format: 'base64',
  })
})

test('each order gets its own vectors, counted from 0, in any order of the answer', () => {
  const request = composeRequest([order('aaaa'), order(['bbbb', 'cccc'])])
  const answer = {
    object: 'list',
    model: 'm',
    data: [2, 0, 1].map((index) => ({ object: 'embedding', index, embedding: `v${index}` })),
    usage: { prompt_tokens: 10, total_tokens: 10 },
  }
  const vector = (index: number, embedding: string) => ({ object: 'embedding', index, embedding })
  const list = (data: JsonObject[], tokens: number) => ({
    object: 'list',
    model: 'm',
    data,
    usage: { prompt_tokens: tokens, total_tokens: tokens },
  })
  expect(splitAnswer(answer, request)).toEqual([
    { result: list([vector(0, 'v0')], 3), alone: [list([vector(0, 'v0')], 3)] },
    {
      result: list([vector(0, 'v1'), vector(1, 'v2')], 7),
      alone: [list([vector(0, 'v1')], 4), list([vector(0, 'v2')], 3)],
    },
  ])
})

test('a known input is not sent, and keeps its place', () => {
  const request = composeRequest([order(['a', 'b', 'c'], { known: [null, kept('b'), null] })])
  expect(request.body!.input).toEqual(['a', 'c'])
  const [share] = splitAnswer(answerTo(request.body!), request)
  expect(share!.result).toEqual({
    object: 'list',
    model: 'm',
    data: ['a', 'b', 'c'].map(entry),
    usage: { prompt_tokens: 2, total_tokens: 2 },
  })
  expect(request.parts[0]!.owned).toEqual([
    { place: 0, input: 0 },
    { place: 1, input: 2 },
  ])
})

test('an order whose inputs are all known needs no call, and none is made when all are such', () => {
  const known = order(['a', 'b'], { known: [kept('a'), kept('b')] })
  const request = composeRequest([known, order('c')])
  expect(request.parts.map(({ needsCall }) => needsCall)).toEqual([false, true])
  expect(request.body!.input).toEqual(['c'])
  expect(splitAnswer(answerTo(request.body!), request)[0]).toBeNull()
  expect(composeRequest([known]).body).toBeNull()
  expect(joinKnown([kept('a'), kept('b')])).toEqual({
    object: 'list',
    model: 'kept',
    data: ['a', 'b'].map(entry),
    usage: { prompt_tokens: 0, total_tokens: 0 },
  })
})

test('an order without inputs is for the provider to judge', () => {
  expect(composeRequest([order([])]).body).toEqual({ model: 'm', input: [], encoding_format: 'base64' })
})

test('a repeated input is sent once for a group, and as often as it occurs without one', () => {
  expect(composeRequest([order(['a', 'a', 'b'])]).body!.input).toEqual(['a', 'b'])
  expect(composeRequest([order(['a', 'b']), order(['b', 'c'])]).body!.input).toEqual(['a', 'b', 'c'])
  expect(composeRequest([order('a'), order('a', { group: 'other' })]).body!.input).toEqual(['a', 'a'])
  expect(composeRequest([order(['a', 'a'], { group: null })]).body!.input).toEqual(['a', 'a'])
})

test('texts and tokens that look the same are different inputs', () => {
  const request = composeRequest([order('1,2'), order('', { body: { model: 'm', input: [1, 2] } })])
  expect(request.body!.input).toEqual(['1,2', [1, 2]])
})

test('an answer to one input is distinguished from others', () => {
  expect(isSingleAnswer(kept('a'))).toBe(true)
  expect(isSingleAnswer({ data: [entry('a', 0), entry('b', 1)] })).toBe(false)
  expect(isSingleAnswer({ data: [{ index: 0 }] })).toBe(false)
  expect(isSingleAnswer({ choices: [] })).toBe(false)
})

test('with any known or repeated inputs, each order gets the vectors of its own, and the usage adds up', () => {
  const text = fc.constantFrom('a', 'bb', 'ccc', 'dddd', 'eeeee')
  const some = fc.record({
    inputs: fc.array(fc.record({ text, isKnown: fc.boolean() }), { minLength: 1, maxLength: 8 }),
    group: fc.constantFrom('acme', 'other', null),
  })
  fc.assert(
    fc.property(fc.array(some, { minLength: 1, maxLength: 8 }), fc.boolean(), (jobs, isReversed) => {
      const orders = jobs.map(({ inputs, group }) =>
        order(
          inputs.map((one) => one.text),
          { group, known: inputs.map((one) => (one.isKnown ? kept(one.text) : null)) },
        ),
      )
      const request = composeRequest(orders)
      expect(request.body === null).toBe(request.parts.every(({ needsCall }) => !needsCall))
      if (request.body === null) return
      const answer = answerTo(request.body)
      if (isReversed) (answer.data as JsonObject[]).reverse()
      const shares = splitAnswer(answer, request)
      let paid = 0
      for (const [index, { inputs }] of jobs.entries()) {
        const share = shares[index]
        if (!share) {
          expect(inputs.every(({ isKnown }) => isKnown)).toBe(true)
          continue
        }
        expect(share.result.data).toEqual(inputs.map((one, at) => entry(one.text, at)))
        const { prompt_tokens } = share.result.usage as { prompt_tokens: number }
        paid += prompt_tokens
        const { owned } = request.parts[index]!
        const alone = share.alone.map((one) => vectorsOf(one))
        expect(alone).toEqual(owned.map(({ input }) => [`vector of ${inputs[input]!.text}`]))
        if (owned.length === 0) expect(prompt_tokens).toBe(0)
      }
      expect(paid).toBe((answer.usage as { prompt_tokens: number }).prompt_tokens)
    }),
    { numRuns: 500 },
  )
})

const ODD = '"n" : 9223372036854775807, "list":[1.0,1e400]'
const textOf = (...texts: string[]) =>
  sourceOf(composeRequest(texts.map((text) => ({ body: parseWithSource(text), group: 'acme' }))).body!)

test.each([
  ['{"input":"\\u0061", BIG}', '{"input":"\\u0061", BIG,"encoding_format":"base64"}'],
  [
    '{"encoding_format": "float", "input":["a" ,"b"],BIG}',
    '{"encoding_format": "base64", "input":["a" ,"b"],BIG}',
  ],
  ['{"input":[ 1,2 ],BIG,"encoding_format":"base64"}', '{"input":[ 1,2 ],BIG,"encoding_format":"base64"}'],
  ['{"input":["a","a"],BIG}', '{"input":["a"],BIG,"encoding_format":"base64"}'],
  ['{"input":"a","embedding_type":"binary",BIG}', '{"input":"a","embedding_type":"binary",BIG}'],
  ['{"input":"a","output_dtype":"int8",BIG}', '{"input":"a","output_dtype":"int8",BIG}'],
  ['{"input":"a","encoding_format":"ubinary",BIG}', '{"input":"a","encoding_format":"ubinary",BIG}'],
])('an embedding of %s is sent as its client wrote it', (asked, sent) => {
  expect(textOf(asked.replace('BIG', ODD))).toBe(sent.replace('BIG', ODD))
})

test('orders that share a request keep the text of the members in which they agree', () => {
  expect(textOf(`{"input":"a",${ODD}}`, `{"input":["b"],${ODD}}`)).toBe(
    `{"input":["a","b"],${ODD},"encoding_format":"base64"}`,
  )
  expect(
    textOf(`{"input":"a","output_dtype":"int8",${ODD}}`, `{"input":"b","output_dtype":"int8",${ODD}}`),
  ).toBe(`{"input":["a","b"],"output_dtype":"int8",${ODD}}`)
})

test('members of an answer beside its vectors stay as they are written, alone, shared, stored and rendered', () => {
  const own = '"id" : 9223372036854775807,"x":{"b":1.0,"1":[1e400]}'
  const vector = (index: number) =>
    `{"object":"embedding","norm":1.00,"index":${index},"embedding":"AACAPwAAAMA=","n":9007199254740993}`
  const usage = '{"prompt_tokens":4,"total_tokens":4,"cost":0.10,"completion_tokens": 0}'
  const text = `{${own}, "object":"list","data":[${vector(0)}, ${vector(1)}],"model":"m", "usage": ${usage} }`
  const rendered = (result: JsonObject, format: string | null) =>
    stringifyJson(renderResult(decodePayload(Buffer.from(encodeResult(result))), format))

  const lone = composeRequest([order(['aa', 'bb'])])
  const [share] = splitAnswer(parseWithSource(text), lone)
  expect(sourceOf(share!.result)).toBe(text)
  const tight = text.replace('}, {', '},{')
  expect(rendered(share!.result, 'base64')).toBe(tight)
  expect(rendered(share!.result, 'float')).toBe(tight.replaceAll('"AACAPwAAAMA="', '[1,-2]'))

  const two = composeRequest([order('aa'), order('bb')])
  const ours = `{${own}, "object":"list","data":[${vector(0)}],"model":"m", "usage": {"prompt_tokens":2,"total_tokens":2} }`
  const shares = splitAnswer(parseWithSource(text), two)
  for (const part of shares) {
    expect(rendered(part!.result, 'base64')).toBe(ours)
    expect(rendered(part!.alone[0]!, 'base64')).toBe(ours)
  }
  const zero = ours.replaceAll('_tokens":2', '_tokens":0')
  const known = decodePayload(Buffer.from(encodeResult(shares[1]!.alone[0]!)))
  expect(rendered(joinKnown([known]), null)).toBe(zero)
})

test('a usage that says too little is completed, and keeps what it says', () => {
  const text =
    '{"object":"list","data":[{"index":0,"embedding":"AACAPw=="}],"usage":{"total_tokens":3,"cost":1.0}}'
  const [share] = splitAnswer(parseWithSource(text), composeRequest([order('a')]), 3)
  expect(stringifyJson(share!.result)).toBe(text.replace('1.0', '1.0,"prompt_tokens":3'))
})
