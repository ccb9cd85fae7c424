import fc from 'fast-check'
import { describe, expect, it, test } from 'vitest'
import {
  findSource,
  keepSourcesAt,
  parseWithSource,
  stringifyJson,
  stringifyLine,
  withMembers,
} from '../../../lib/json-source.ts'
import {
  countMembers,
  editMembers,
  findMember,
  findRepeatedName,
  listElements,
  listMembers,
  skipString,
} from '../../../lib/json-text.ts'
import { cpuTimeOf } from '../../helpers/cpu-time.ts'

const blanks = fc.constantFrom('', ' ', '\n', '\t', ' \r\n ')
const numbers = fc.constantFrom(
  '9223372036854775807',
  '1e400',
  '0.1000000000000000055',
  '-0',
  '1.0',
  '1E+2',
  '7',
)
const strings = fc.oneof(
  fc.string().map((text) => JSON.stringify(text)),
  fc.constantFrom('"\\u0041\\ud800"', '"\\\\"', '"\\\\\\""', '"{\\"a\\":[1,"', '""', '"\\/"'),
)

/** JSON as people and programs write it, not as `JSON.stringify` would. */
const { value: anyValue } = fc.letrec<{ value: string }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3 },
    numbers,
    strings,
    fc.constantFrom('true', 'false', 'null'),
    fc
      .tuple(fc.array(tie('value'), { maxLength: 3 }), blanks)
      .map(([items, gap]) => `[${gap}${items.join(`${gap},${gap}`)}${gap}]`),
    fc
      .tuple(
        fc.uniqueArray(fc.tuple(strings, tie('value')), {
          selector: ([name]) => JSON.parse(name),
          maxLength: 4,
        }),
        blanks,
      )
      .map(
        ([members, gap]) =>
          `{${gap}${members.map(([name, value]) => `${name}${gap}:${gap}${value}`).join(`${gap},${gap}`)}${gap}}`,
      ),
  ),
}))
const anyObject = fc
  .tuple(
    fc.uniqueArray(
      fc.tuple(fc.constantFrom('"model"', '"stream"', '"2"', '"1"', '"\\u0061"', '"x y"'), anyValue),
      { selector: ([name]) => name },
    ),
    blanks,
  )
  .map(
    ([members, gap]) =>
      `${gap}{${gap}${members.map(([name, value]) => `${name}${gap}:${gap}${value}`).join(`${gap},${gap}`)}${gap}}${gap}`,
  )

test('members and elements are where JSON.parse finds them', () => {
  fc.assert(
    fc.property(anyObject, (text) => {
      const found = listMembers(text).map(({ name, valueStart, valueEnd }) => [
        name,
        JSON.parse(text.slice(valueStart, valueEnd)),
      ])
      expect(Object.fromEntries(found)).toEqual(JSON.parse(text))
    }),
  )
  fc.assert(
    fc.property(fc.array(anyValue), blanks, (items, gap) => {
      const text = `[${gap}${items.join(`${gap},`)}${gap}]`
      expect(listElements(text).map(({ start, end }) => text.slice(start, end))).toEqual(items)
    }),
  )
})

describe('a string', () => {
  it('ends where it ends, with any escapes', () => {
    const piece = fc.constantFrom(
      '"',
      '\\',
      'a',
      'lorem ipsum dolor sit amet, consectetur adipiscing elit',
      '\n',
      'é',
    )
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 60 }), (pieces) => {
        const text = JSON.stringify(pieces.join(''))
        expect(skipString(`[${text}, "x"]`, 1)).toBe(text.length + 1)
      }),
    )
  })
})

describe('editMembers', () => {
  test('changes what it should, and leaves every other value as it is written', () => {
    const edits = fc.dictionary(fc.constantFrom('model', 'stream', '1', 'a', 'new'), fc.option(anyValue))
    fc.assert(
      fc.property(anyObject, edits, (text, changes) => {
        const edited = editMembers(text, changes)
        const members = new Map(
          listMembers(edited).map(({ name, valueStart, valueEnd }) => [
            name,
            edited.slice(valueStart, valueEnd),
          ]),
        )
        for (const { name, valueStart, valueEnd } of listMembers(text)) {
          const expected = Object.hasOwn(changes, name) ? changes[name] : text.slice(valueStart, valueEnd)
          expect(members.get(name) ?? null).toBe(expected)
        }
        for (const [name, value] of Object.entries(changes)) expect(members.get(name) ?? null).toBe(value)
        expect(JSON.parse(edited)).toBeTypeOf('object')
      }),
    )
  })

  it.each([
    ['{ "model" : "a/b" ,\n "x":1e400 }', { model: '"b"' }, '{ "model" : "b" ,\n "x":1e400 }'],
    ['{"stream":true}', { stream: null }, '{}'],
    ['{"a":1, "stream":true}', { stream: null }, '{"a":1}'],
    ['{"stream":true, "a":1}', { stream: null }, '{"a":1}'],
    ['{ }', { a: '1' }, '{"a":1 }'],
    ['{"2":0,"1":0}', { b: '[]' }, '{"2":0,"1":0,"b":[]}'],
    ['{"\\u006dodel":1}', { model: '2' }, '{"\\u006dodel":2}'],
    ['{"a":1}', { b: null }, '{"a":1}'],
  ])('%s with %o', (text, edits, expected) => {
    expect(editMembers(text, edits)).toBe(expected)
  })
})

test('names that occur twice are found, at any place', () => {
  expect(findRepeatedName('{"a":1,"b":{"a":1},"c":[{"a":{}}]}')).toBeNull()
  expect(findRepeatedName('{"a":1,"\\u0061":2}')).toEqual(['a'])
  expect(findRepeatedName('{"b":[0,{"x":{"a":1, "a":2}}]}')).toEqual(['b', 1, 'x', 'a'])
  expect(countMembers('{"a:":1,"b":[{"c":2}],"d":"x:\\":y"}')).toBe(4)
  expect(findMember('{"a":1,"a":2}', 'a')).toBe('2')
})

describe('objects with their source', () => {
  const text = '{"2":9223372036854775807,"1":{"b":1.0,\n"a":1e400},"list":[{"z":-0}]}'

  test('are written as they were read, at any place', () => {
    const value = parseWithSource(text)
    expect(stringifyJson({ before: '"', jobs: [{ result: value }, { result: value }], after: 1 })).toBe(
      `{"before":"\\"","jobs":[{"result":${text}},{"result":${text}}],"after":1}`,
    )
    expect(stringifyLine({ value })).toBe(`{"value":${text.replace('\n', ' ')}}`)
  })

  test('give their members sources, and keep what is not changed', () => {
    const value = parseWithSource(text)
    keepSourcesAt(value, ['1'])
    keepSourcesAt(value, ['list', '*'])
    keepSourcesAt(value, ['no', 'such', 'place'])
    expect(stringifyJson({ one: value['1'], list: value.list })).toBe(
      '{"one":{"b":1.0,\n"a":1e400},"list":[{"z":-0}]}',
    )
    expect(stringifyJson(withMembers(value, { '1': undefined, model: 'm' }))).toBe(
      '{"2":9223372036854775807,"list":[{"z":-0}],"model":"m"}',
    )
  })

  test('cannot be changed behind their source, and a copy has none', () => {
    const value = parseWithSource(text)
    expect(() => Object.assign(value, { a: 1 })).toThrow(TypeError)
    expect(findSource({ ...value })).toBeUndefined()
  })
})

test('long texts of every shape are read in linear time', () => {
  const shapes = [
    `{"a":"${'\\\\'.repeat(300_000)}"}`,
    `{"a":"${'\\"'.repeat(300_000)}"}`,
    `{${Array.from({ length: 100_000 }, (_, index) => `"m${index}":[]`).join()}}`,
  ]
  for (const shape of shapes) {
    const spent = cpuTimeOf(() => {
      JSON.parse(editMembers(shape, { model: '1', a: null }))
      countMembers(shape)
    })
    expect(spent).toBeLessThan(3000)
  }
})
