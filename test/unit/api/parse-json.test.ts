import { describe, expect, it } from 'vitest'
import { ApiError } from '../../../api/errors.ts'
import { parseJson, parseLargeJson } from '../../../api/parse-json.ts'
import { contentHash } from '../../../jobs/content-hash.ts'
import type { JsonObject } from '../../../lib/json.ts'
import { findSource } from '../../../lib/json-source.ts'
import { cpuTimeOf } from '../../helpers/cpu-time.ts'

function failure(text: string | Buffer): { message: string; param: string | null } {
  try {
    parseJson(Buffer.from(text as string), 'body')
  } catch (error) {
    if (error instanceof ApiError) return { message: error.message, param: error.param }
    throw error
  }
  throw new Error('it was taken')
}

const nest = (levels: number) => `${'{"a":'.repeat(levels)}1${'}'.repeat(levels)}`

describe('JSON from a client', () => {
  it('is accepted with any other names of its members', () => {
    expect(parseJson(Buffer.from('{"constructor":1,"toString":[null,true,"é"]}'), 'body')).toEqual({
      constructor: 1,
      toString: [null, true, 'é'],
    })
  })

  it.each(['{"__proto__":{}}', '{"a":[{"\\u005f_proto__":1}]}', '{"constructor":{"prototype":{}}}'])(
    'is refused with prototype keys: %s',
    (text) => {
      expect(failure(text).message).toContain('__proto__')
    },
  )

  it('is the same behind a byte order mark, which is removed', async () => {
    const text = '{"model":"a/b","messages":[{"role":"user","content":"one"}]}'
    const marked = Buffer.from(`\uFEFF${text}`)
    for (const body of [parseJson(marked, 'body'), await parseLargeJson(marked, 'body')]) {
      expect(findSource(body as object)).toBe(text)
      expect(contentHash({ type: 'chat', model: 'm', body: body as JsonObject })).toBe(
        contentHash({ type: 'chat', model: 'm', body: parseJson(Buffer.from(text), 'body') as JsonObject }),
      )
    }
    expect(failure('\uFEFF').message).toContain('is not valid JSON')
  })

  it('may be nested 64 levels deep and no deeper', () => {
    expect(parseJson(Buffer.from(nest(64)), 'body')).toBeTypeOf('object')
    expect(failure(nest(65)).message).toMatch(/^a\.a\.a.*: is nested more than 64 levels deep$/)
  })

  it('of many million brackets is refused at once', () => {
    const spent = cpuTimeOf(() => {
      expect(failure('['.repeat(16_000_000) + ']'.repeat(16_000_000)).message).toContain('nested')
    })
    expect(spent).toBeLessThan(1000)
  })

  it('that is long and shallow is accepted, also with brackets in its strings', () => {
    const text = JSON.stringify({ a: '[{"\\'.repeat(20_000), b: Array(64).fill([{ c: ']' }]) })
    expect(parseJson(Buffer.from(text), 'body')).toEqual(JSON.parse(text))
  })

  it('that is long and too deep is refused', () => {
    const text = `{"pad":"${'x'.repeat(70_000)}","deep":${'['.repeat(64)}${']'.repeat(64)}}`
    expect(failure(text).message).toMatch(/^body: is nested more than 64 levels deep$/)
    expect(parseJson(Buffer.from(text.replace('[[', '[').replace(']]', ']')), 'body')).toBeTypeOf('object')
  })

  it('that is broken is refused with its position and without its content', () => {
    const { message } = failure('{"prompt": "secret words", }')
    expect(message).toMatch(/^body: is not valid JSON/)
    expect(message).not.toContain('secret')
  })

  it.each(['{"a":[1,1e999]}', '{"a b":{"c":"\\ud800"}}', '{"2":-0,"1":9223372036854775807,"x": 1.0 }'])(
    'keeps what a double, or a reordering of members, cannot hold: %s',
    (text) => {
      expect(findSource(parseJson(Buffer.from(text), 'body') as object)).toBe(text)
    },
  )

  it.each([
    ['{"a":1,"a":1}', 'a'],
    ['{"m":[{"role":"user","\\u0072ole":"system"}]}', 'm[0].role'],
    ['[{"a":{"b":1,"c":"b:","b":2}}]', '[0].a.b'],
  ])('with a name twice in one object is refused: %s', (text, place) => {
    expect(failure(text)).toEqual({ message: `${place}: stands twice in its object`, param: place })
  })

  it('must be UTF-8', () => {
    expect(failure(Buffer.from([0x22, 0xff, 0x22])).message).toContain('UTF-8')
  })
})
