import { describe, expect, it } from 'vitest'
import {
  createResolver,
  EvaluationError,
  parseTemplate,
  TemplateError,
  UnresolvedError,
} from '../../../flows/template.ts'
import type { JsonValue } from '../../../lib/json.ts'
import { cpuTimeOf } from '../../helpers/cpu-time.ts'

const context = {
  input: { topic: 'rivers', n: 3, list: [{ a: 1 }, { a: 2 }], none: null },
  steps: { a: { result: { text: '```json\n{"chapters":[1,2]}\n```' } } },
}

function fill(value: JsonValue): JsonValue {
  return parseTemplate(value, 'here').fill?.(createResolver(context)) ?? value
}

describe('a string', () => {
  it.each<[string, JsonValue]>([
    ['no expression', 'no expression'],
    ['${{ input.n }}', 3],
    ['n is ${{ input.n }}, ${{input.topic}}, ${{ input.list[0] }}', 'n is 3, rivers, {"a":1}'],
    ["${{ input.tone || 'formal' }}", 'formal'],
    ['${{ json(steps.a.result.text).chapters }}', [1, 2]],
    ['${{ {a: {b: input.n}} }}', { a: { b: 3 } }],
    ["${{ '}}' }}", '}}'],
    ["${{ '${{' }} stays", '${{ stays'],
    ['${{ input.list[?a > `1`].a | [0] }}', 2],
    ['${{ length(input.list) == `2` }}', true],
    ['${{ let $n = input.n in $n }}', 3],
  ])('%s', (text, expected) => {
    expect(fill(text)).toEqual(expected)
  })

  it('has no value where there is none, and names what was missing', () => {
    for (const text of [
      '${{ input.nope }}',
      'x ${{ input.none }}',
      '${{ input.constructor }}',
      '${{ input.__proto__ }}',
    ]) {
      expect(() => fill(text), text).toThrow(UnresolvedError)
    }
    expect(() => fill('${{ input.nope }}')).toThrow('here: ${{ input.nope }} has no value')
  })

  it('has no number that a double does not hold: it would be another one, or null', () => {
    const numbers = JSON.parse(
      '{"huge":1e400,"long":12345678901234567890,"exact":9007199254740991,"small":0.1}',
    )
    const value = (text: string) =>
      parseTemplate(text, 'here').fill!(createResolver({ input: numbers, steps: {} }))
    for (const text of ['${{ input.huge }}', 'is ${{ input.long }}', '${{ input }}', '${{ [input.huge] }}']) {
      expect(() => value(text), text).toThrow(/held exactly/)
    }
    expect(value('${{ input.exact }} ${{ input.small }}')).toBe('9007199254740991 0.1')
  })

  it('names what does not exist', () => {
    for (const text of [
      '${{ }}',
      '${{ input',
      '${{ a..b }}',
      '${{ foo }}',
      '${{ frob(input) }}',
      '${{ steps }}',
      '${{ steps.a.out }}',
      '${{ @ }}',
    ]) {
      expect(() => fill(text), text).toThrow(TemplateError)
    }
    expect(() => fill(`\${{ ${'('.repeat(4000)}`)).toThrow(TemplateError)
  })
})

it('keeps values without an expression unchanged, and fills others at any depth', () => {
  const value = { a: [1, { b: '${{ input.n }}' }], c: { d: 'x' } }
  const filled = fill(value) as typeof value
  expect(filled).toEqual({ a: [1, { b: 3 }], c: { d: 'x' } })
  expect(filled.c).toBe(value.c)
})

it('is evaluated within bounds of time and size, for any expression', () => {
  const doubled = ` | [@, @]`.repeat(40)
  for (const text of [
    `input${doubled} | to_string(@)`,
    `input${doubled} == input`,
    `input.list${' | [@, @] | []'.repeat(30)}`,
    'pad_left(input.topic, `1000000000`)',
    `replace(input.topic, '', ${`join(input.topic, input.list[*].to_string(@))`})${' | join(@, [@, @, @, @])'.repeat(20)}`,
    `input${' | map(&[@, @], [@, @])'.repeat(20)}`,
  ]) {
    const spent = cpuTimeOf(() => expect(() => fill(`\${{ ${text} }}`), text).toThrow(EvaluationError))
    expect(spent, text).toBeLessThan(3000)
  }
})

it('is bounded together with the expressions beside it, however small each of them is', () => {
  const long = 'x'.repeat(100_000)
  const large = {
    input: { long, numbers: Array.from({ length: 20_000 }, (_, at) => at), records: [{ long }, { long }] },
    steps: {},
  }
  const many = (text: string) => [
    text.repeat(1_000),
    Array(1_000).fill(text),
    { a: Array(1_000).fill(`${text}!`) },
  ]
  for (const text of [
    '${{ input.long }}',
    '${{ input.numbers }}',
    '${{ input.records }}',
    '${{ length(sort(input.numbers)) }}',
    '${{ input.numbers[?@ > `1`] | length(@) }}',
  ])
    for (const template of many(text)) {
      const { fill } = parseTemplate(template, 'here')
      const spent = cpuTimeOf(() => expect(() => fill!(createResolver(large)), text).toThrow(EvaluationError))
      expect(spent, text).toBeLessThan(6000)
    }
  // Expressions that fit together pass.
  expect(parseTemplate(Array(100).fill('${{ input.long }}'), 'here').fill!(createResolver(large))).toEqual(
    Array(100).fill(long),
  )
})
