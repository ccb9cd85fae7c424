import { hash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { contentHash, hashCanonical, hashInputsOf } from '../../../jobs/content-hash.ts'
import type { JsonValue } from '../../../lib/json.ts'
import { parseWithSource } from '../../../lib/json-source.ts'

const sha256 = (text: string) => hash('sha256', text, 'hex')

describe('hashCanonical', () => {
  it('hashes the example of RFC 8785, section 3.2.2, as the RFC serializes it', () => {
    const value: JsonValue = JSON.parse(String.raw`{
      "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
      "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
      "literals": [null, true, false]
    }`)
    const canonical = String.raw`{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}`
    expect(hashCanonical(value)).toBe(sha256(canonical))
  })

  it('sorts member names by their UTF-16 code units, as RFC 8785, section 3.2.3, shows', () => {
    const value: JsonValue = JSON.parse(
      String.raw`{"\u20ac":"Euro Sign","\r":"Carriage Return","\ufb33":"Hebrew Letter Dalet With Dagesh","1":"One","\ud83d\ude00":"Emoji: Grinning Face","\u0080":"Control","\u00f6":"Latin Small Letter O With Diaeresis"}`,
    )
    const canonical =
      '{"\\r":"Carriage Return","1":"One","\u0080":"Control","ö":"Latin Small Letter O With Diaeresis","€":"Euro Sign","😀":"Emoji: Grinning Face","\ufb33":"Hebrew Letter Dalet With Dagesh"}'
    expect(hashCanonical(value)).toBe(sha256(canonical))
  })

  it.each([
    ['1.0', '1'],
    ['-0', '0'],
    ['1e21', '1e+21'],
    ['100000000000000000000', '100000000000000000000'],
    ['0.0000001', '1e-7'],
    ['9007199254740993', '9007199254740992'],
  ])('writes the number %s as %s', (given, canonical) => {
    expect(hashCanonical(JSON.parse(given))).toBe(sha256(canonical))
  })

  it('distinguishes texts that only look alike', () => {
    expect(hashCanonical('\u00e9')).not.toBe(hashCanonical('e\u0301'))
  })

  it('leaves the order of arrays alone', () => {
    expect(hashCanonical([1, 2])).not.toBe(hashCanonical([2, 1]))
  })

  it('is the same for the same JSON, in any order of the members', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (value) => {
        const reversed = Object.fromEntries(Object.entries(value).reverse())
        expect(hashCanonical(reversed as JsonValue)).toBe(hashCanonical(value as JsonValue))
      }),
    )
  })
})

describe('contentHash', () => {
  const body = { model: 'a/b', messages: [{ role: 'user', content: 'hello' }] }

  it('takes type, model and body into account', () => {
    const hashes = [
      contentHash({ type: 'chat', model: 'a/b', body }),
      contentHash({ type: 'response', model: 'a/b', body }),
      contentHash({ type: 'chat', model: 'a/c', body }),
      contentHash({ type: 'chat', model: 'a/b', body: { ...body, temperature: 0 } }),
    ]
    expect(new Set(hashes).size).toBe(4)
  })

  it('leaves out how the answer is delivered', () => {
    const streamed = { ...body, stream: true, stream_options: { include_usage: true } }
    for (const type of ['chat', 'response'] as const) {
      expect(contentHash({ type, model: 'a/b', body: streamed })).toBe(
        contentHash({ type, model: 'a/b', body }),
      )
    }
    const input = { model: 'a/b', input: 'hello' }
    const packed = { ...input, encoding_format: 'base64' }
    expect(contentHash({ type: 'embedding', model: 'a/b', body: packed })).toBe(
      contentHash({ type: 'embedding', model: 'a/b', body: input }),
    )
    expect(contentHash({ type: 'embedding', model: 'a/b', body: { ...input, dimensions: 2 } })).not.toBe(
      contentHash({ type: 'embedding', model: 'a/b', body: input }),
    )
    expect(contentHash({ type: 'chat', model: 'a/b', body: packed })).not.toBe(
      contentHash({ type: 'chat', model: 'a/b', body: input }),
    )
  })

  it('is the same for one input by itself and alone in a list', () => {
    const of = (input: JsonValue) =>
      contentHash({ type: 'embedding', model: 'a/b', body: { model: 'a/b', input } })
    expect(of(['hello'])).toBe(of('hello'))
    expect(of([[1, 2]])).toBe(of([1, 2]))
    // Two texts, and two tokens of one text.
    const different = [
      of('hello'),
      of(['hello', 'hello']),
      of([1, 2]),
      of([[1], [2]]),
      of('1,2'),
      of([]),
      of([[]]),
    ]
    expect(new Set(different).size).toBe(different.length)
    expect(contentHash({ type: 'response', model: 'a/b', body: { input: ['hello'] } })).not.toBe(
      contentHash({ type: 'response', model: 'a/b', body: { input: 'hello' } }),
    )
  })

  describe.each([
    [
      'response_format',
      (schema: string) =>
        `"response_format":{"type":"json_schema","json_schema":{"name":"n","schema":${schema}}}`,
    ],
    [
      'text.format',
      (schema: string) => `"text":{"format":{"type":"json_schema","name":"n","schema":${schema}}}`,
    ],
    [
      'a function',
      (schema: string) => `"tools":[{"type":"function","function":{"name":"f","parameters":${schema}}}]`,
    ],
    [
      'a flat function',
      (schema: string) => `"tools":[{"type":"function","name":"f","parameters":${schema}}]`,
    ],
    ['input_schema', (schema: string) => `"tools":[{"name":"f","input_schema":${schema}}]`],
    ['functions', (schema: string) => `"functions":[{"name":"f","parameters":${schema}}]`],
    [
      'output_config',
      (schema: string) => `"output_config":{"format":{"type":"json_schema","schema":${schema}}}`,
    ],
    ['Gemini', (schema: string) => `"generationConfig":{"responseSchema":${schema}}`],
    ['Gemini, JSON schema', (schema: string) => `"generation_config":{"response_json_schema":${schema}}`],
    ['guided_json', (schema: string) => `"guided_json":${schema}`],
    ['structured_outputs', (schema: string) => `"structured_outputs":{"json":${schema}}`],
  ])('the schema of %s', (_place, place) => {
    const of = (schema: string) =>
      contentHash({ type: 'chat', model: 'a/b', body: parseWithSource(`{"model":"a/b",${place(schema)}}`) })

    it('is another one in another order', () => {
      expect(of('{"properties":{"a":{},"b":{}}}')).not.toBe(of('{"properties":{"b":{},"a":{}}}'))
      expect(of('{"properties":{"2":{},"1":{}}}')).not.toBe(of('{"properties":{"1":{},"2":{}}}'))
    })

    it('is the same with other blanks and escapes', () => {
      expect(of('{"properties":{"a":{"minimum":1.0}}}')).toBe(
        of('{ "properties" : {"\\u0061":{"minimum":1}} }'),
      )
    })

    it('is another one with another number', () => {
      expect(of('{"maximum":9223372036854775807}')).not.toBe(of('{"maximum":9223372036854775806}'))
    })
  })

  it('is the same in another order everywhere else', () => {
    const of = (text: string) => contentHash({ type: 'chat', model: 'a/b', body: parseWithSource(text) })
    expect(
      of(
        '{"model":"a/b","messages":[{"role":"user","content":[{"type":"text","text":"x"}]}],"response_format":{"type":"json_schema","json_schema":{"name":"n","strict":true}}}',
      ),
    ).toBe(
      of(
        '{"response_format":{"json_schema":{"strict":true,"name":"n"},"type":"json_schema"},"messages":[{"content":[{"text":"x","type":"text"}],"role":"user"}],"model":"a/b"}',
      ),
    )
  })

  it('distinguishes numbers that are one double', () => {
    const of = (seed: string) =>
      contentHash({ type: 'chat', model: 'a/b', body: parseWithSource(`{"model":"a/b","seed":${seed}}`) })
    expect(of('9223372036854775807')).not.toBe(of('9223372036854775806'))
    expect(of('1.0')).toBe(of('1'))
  })

  it('of each input is that of a job with this input alone', () => {
    const body = parseWithSource('{"model":"alias","input":["é","b"],"dimensions":9223372036854775807}')
    const alone = (input: string) =>
      contentHash({
        type: 'embedding',
        model: 'a/b',
        body: parseWithSource(`{"dimensions":9223372036854775807,"input":${input},"model":"a/b"}`),
      })
    expect(hashInputsOf('a/b', body, ['é', 'b', [1, 2]])).toEqual([
      alone('"\\u00e9"'),
      alone('["b"]'),
      alone('[1,2]'),
    ])
  })

  it('is 64 hex digits', () => {
    expect(contentHash({ type: 'chat', model: 'a/b', body })).toMatch(/^[0-9a-f]{64}$/)
  })
})
