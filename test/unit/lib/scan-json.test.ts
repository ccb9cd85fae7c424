import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createJsonScanner, describeJsonExcess, type JsonBounds } from '../../../lib/scan-json.ts'

const free: JsonBounds = {
  depth: Number.POSITIVE_INFINITY,
  values: Number.POSITIVE_INFINITY,
  names: Number.POSITIVE_INFINITY,
  distinctNames: Number.POSITIVE_INFINITY,
  escapes: Number.POSITIVE_INFINITY,
}

function scan(text: string, bounds: Partial<JsonBounds>, size = text.length + 1) {
  const scanner = createJsonScanner({ ...free, ...bounds })
  const bytes = Buffer.from(text)
  let found = null
  for (let at = 0; at < bytes.length; at += size) found = scanner.push(bytes.subarray(at, at + size))
  return found
}

/** The content of a text, counted by walking over its parsed value. */
function count(value: unknown): { depth: number; values: number; names: string[] } {
  if (typeof value !== 'object' || value === null) return { depth: 0, values: 1, names: [] }
  const inside = Object.values(value).map(count)
  return {
    depth: 1 + Math.max(0, ...inside.map(({ depth }) => depth)),
    values: 1 + inside.reduce((sum, { values }) => sum + values, 0),
    names: [...(Array.isArray(value) ? [] : Object.keys(value)), ...inside.flatMap(({ names }) => names)],
  }
}

describe('the scanner of JSON', () => {
  it('counts exactly what is in a text, at any cut', () => {
    fc.assert(
      fc.property(
        fc.json({ maxDepth: 6 }),
        fc.nat(2),
        fc.integer({ min: 1, max: 9 }),
        (json, indent, size) => {
          const text = JSON.stringify(JSON.parse(json), null, indent)
          const { depth, values, names } = count(JSON.parse(text))
          const most = { depth, values, names: names.length, distinctNames: new Set(names).size }
          expect(scan(text, most, size)).toBeNull()
          for (const bound of ['depth', 'values', 'names'] as const) {
            if (most[bound] <= (bound === 'values' ? 1 : 0)) continue
            expect(scan(text, { [bound]: most[bound] - 1 }, size)).toEqual({ bound, most: most[bound] - 1 })
          }
        },
      ),
    )
  })

  it('finds the depth of a short text, at any cut, as that of a long one', () => {
    const nest = (levels: number) => `${'[{"a":'.repeat(levels / 2)}1${'}]'.repeat(levels / 2)}`
    for (const size of [1, 7, 1000]) {
      expect(scan(nest(64), { depth: 64, values: 1000, names: 1000 }, size)).toBeNull()
      expect(scan(nest(66), { depth: 64, values: 1000, names: 1000 }, size)).toEqual({
        bound: 'depth',
        most: 64,
      })
      // Brackets in a string, and side by side, are not levels.
      const flat = JSON.stringify({ text: '[{'.repeat(100), list: Array.from({ length: 100 }, () => []) })
      expect(scan(flat, { depth: 3, values: 1000, names: 1000 }, size)).toBeNull()
    }
    const long = JSON.stringify({ text: 'x'.repeat(70_000), list: [[[1]]] })
    expect(scan(long, { depth: 4 }, 1000)).toBeNull()
    expect(scan(long, { depth: 3 }, 1000)).toEqual({ bound: 'depth', most: 3 })
  })

  it('counts repeated names once, and nearly all others', () => {
    const repeated = JSON.stringify(Array.from({ length: 5_000 }, () => ({ token: 'a', bytes: [1] })))
    expect(scan(repeated, { distinctNames: 2 })).toBeNull()
    const different = JSON.stringify(Array.from({ length: 5_000 }, (_, index) => ({ [`k${index}`]: 1 })))
    expect(scan(different, { distinctNames: 5_000 })).toBeNull()
    expect(scan(different, { distinctNames: 4_800 })).toEqual({ bound: 'distinctNames', most: 4_800 })
  })

  it('sees no structure in strings, with any escapes', () => {
    expect(
      scan(JSON.stringify(['[[[{"a":1,,,', '\\', '\\"[', '"']), { depth: 1, values: 5, names: 0 }),
    ).toBeNull()
  })

  it('counts each escape once, at any cut of the text', () => {
    const text = JSON.stringify({ 'a\n': '\\\\"\u0001é', b: ['"'] })
    for (const size of [1, 2, 3, 100]) {
      expect(scan(text, { escapes: 6 }, size)).toBeNull()
      expect(scan(text, { escapes: 5 }, size)).toEqual({ bound: 'escapes', most: 5 })
    }
  })

  it('counts what is in long strings, and behind them, as in short ones, at any cut of the text', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            // The bounds at which a string is walked, and at which it is searched in pieces, are among these.
            plain: fc.constantFrom(0, 1, 4094, 4095, 4096, 4097, 9000, 36_862, 36_864, 80_000),
            mark: fc.constantFrom('"', '\\', '\n', '\u0001', '', '{[,:'),
          }),
          { maxLength: 4 },
        ),
        fc.constantFrom(7, 4096, 16_384, 1_000_000),
        (pieces, size) => {
          const content = pieces.map(({ plain, mark }) => 'x'.repeat(plain) + mark).join('')
          // Long enough to be looked at byte by byte.
          const text = JSON.stringify({ [content]: content, pad: 'y'.repeat(66_000), list: [[1, 2]] })
          const escapes = 2 * (JSON.stringify(content).match(/\\./g)?.length ?? 0)
          const most = { depth: 3, values: 7, names: 3, distinctNames: 3, escapes }
          expect(scan(text, most, size)).toBeNull()
          for (const bound of ['depth', 'values', 'names', 'escapes'] as const) {
            if (most[bound] === 0) continue
            expect(scan(text, { [bound]: most[bound] - 1 }, size)).toEqual({ bound, most: most[bound] - 1 })
          }
        },
      ),
      { numRuns: 60 },
    )
  })

  it('says each bound in words', () => {
    const words = (['depth', 'values', 'names', 'distinctNames', 'escapes'] as const).map((bound) =>
      describeJsonExcess({ bound, most: 7 }),
    )
    expect(words).toEqual([
      'is nested more than 7 levels deep',
      'has more than 7 values',
      'has more than 7 names of members',
      'has more than 7 different names of members',
      'has more than 7 escapes in its strings',
    ])
  })
})
