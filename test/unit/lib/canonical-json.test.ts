import canonicalize from 'canonicalize'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { canonicalizeNumber, canonicalizeText } from '../../../lib/canonical-json.ts'
import { cpuTimeOf } from '../../helpers/cpu-time.ts'

const unordered = (text: string) => canonicalizeText(text, () => false)

test('the form is that of RFC 8785, with any blanks', () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.constantFrom(0, 1, '\t'), (value, gap) => {
      fc.pre(!JSON.stringify(value).includes('-0'))
      expect(JSON.parse(unordered(JSON.stringify(value, null, gap)))).toEqual(
        JSON.parse(canonicalize(value)!),
      )
      expect(unordered(JSON.stringify(value, null, gap))).toBe(unordered(JSON.stringify(value)))
    }),
  )
})

test('escapes that mean the same are the same', () => {
  expect(unordered('{"\\u0061":"\\/\\u00e9\\n"}')).toBe(unordered('{"a":"/é\\u000a"}'))
  expect(unordered('"\\ud800"')).not.toBe(unordered('"\\ud801"'))
})

test.each([
  ['1.0', '1'],
  ['1E2', '100'],
  ['100e-2', '1'],
  ['0.10', '0.1'],
  ['0.0', '0'],
  ['-1.50', '-1.5'],
  ['1e21', '1e+21'],
])('%s is the same number as %s', (left, right) => {
  expect(canonicalizeNumber(left)).toBe(canonicalizeNumber(right))
})

/**
 * Numbers as clients write them: integers, decimals near the bounds of plain notation, superfluous zeros, exponents.
 */
const written = fc
  .tuple(
    fc.constantFrom('', '-'),
    fc.oneof(fc.nat().map(String), fc.stringMatching(/^[1-9]\d{0,18}$/), fc.constant('0')),
    fc.oneof(fc.constant(''), fc.stringMatching(/^\.0{0,8}\d{1,16}$/)),
    fc.oneof({ weight: 4, arbitrary: fc.constant('') }, fc.stringMatching(/^[eE][+-]?\d{1,3}$/)),
  )
  .map((parts) => parts.join(''))

test('a list of numbers has each in the form that it has by itself', () => {
  fc.assert(
    fc.property(fc.array(written, { maxLength: 30 }), (numbers) => {
      expect(unordered(`[${numbers.join(',')}]`)).toBe(`[${numbers.map(canonicalizeNumber).join(',')}]`)
    }),
    { numRuns: 1000 },
  )
})

test.each([
  ['9223372036854775807', '9223372036854775808'],
  ['9007199254740993', '9007199254740992'],
  ['0.1000000000000000055', '0.1'],
  ['1e400', '1e401'],
  ['1e400', 'null'],
  ['-0', '0'],
  ['1e-400', '0'],
])('%s is another number than %s', (left, right) => {
  expect(canonicalizeNumber(left)).not.toBe(canonicalizeNumber(right))
})

test('members keep their order where that is asked, at every depth below', () => {
  const form = (text: string) => canonicalizeText(text, (name) => name === 'schema')
  expect(form('{"b":1,"schema":{"2":{"z":1,"a":2},"1":[{"d":1,"c":2}]},"a":1}')).toBe(
    '{"a":1,"b":1,"schema":{"2":{"z":1,"a":2},"1":[{"d":1,"c":2}]}}',
  )
})

test('a number of a million digits takes no time', () => {
  const spent = cpuTimeOf(() => {
    unordered(`[${'9'.repeat(1_000_000)},1e${'9'.repeat(1_000_000)}]`)
  })
  expect(spent).toBeLessThan(1000)
})
