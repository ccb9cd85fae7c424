import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseJsonInSlices } from '../../../lib/parse-json-in-slices.ts'

const breathe = async () => {}
const large = (piece: string, count: number) => `[${`${piece},`.repeat(count)}${piece}]`

/** JSON texts with parts beyond a slice, written with blanks or without. */
const texts = fc
  .tuple(fc.json({ maxDepth: 3 }), fc.constantFrom('1', '0.5e-3', '"a\\"b"', '{"a":[1]}', '[]', ' null '))
  .chain(([small, piece]) =>
    fc.constantFrom(
      `${large(piece, 90_000)}`,
      `{"a":${small},"b":${large(piece, 90_000)},"a":2, "c" : ${small} }`,
      `[${small},${large(piece, 90_000)},{"deep":{"er":${large(small, 20_000)}}}]`,
      `{"__proto__":${large(piece, 90_000)},"x":1}`,
      ` "${'long \\\\'.repeat(90_000)}" `,
    ),
  )

describe('parseJsonInSlices', () => {
  it('has the value that JSON.parse has, member by member in its order', async () => {
    await fc.assert(
      fc.asyncProperty(texts, async (text) => {
        const value = await parseJsonInSlices(text, { breathe })
        expect(JSON.stringify(value)).toBe(JSON.stringify(JSON.parse(text)))
      }),
      { numRuns: 25 },
    )
  })

  it('refuses what JSON.parse refuses, at any place of a lost, added or changed character', async () => {
    await fc.assert(
      fc.asyncProperty(
        texts,
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.constantFrom('', ',', ']', '}', '{', '[', '"', ':', '\\', '1', '\v', '\0', '\n'),
        async (text, share, put) => {
          const at = Math.floor(share * text.length)
          const broken = text.slice(0, at) + put + text.slice(at + (put === '' ? 1 : 0))
          let expected: string | null = null
          try {
            expected = JSON.stringify(JSON.parse(broken))
          } catch {}
          const found = await parseJsonInSlices(broken, { breathe }).then(
            JSON.stringify,
            (error: unknown) => {
              expect(error).toBeInstanceOf(SyntaxError)
              return null
            },
          )
          expect(found).toBe(expected)
        },
      ),
      { numRuns: 60 },
    )
  })

  it('leaves the event loop to others between pieces of a few hundred kilobytes', async () => {
    let pauses = 0
    const count = async () => void pauses++
    const text = large('0.1234567', 300_000)
    await parseJsonInSlices(text, { breathe: count })
    expect(pauses).toBeGreaterThanOrEqual(Math.floor(text.length / 300_000))
  })

  it('says where the fault is', async () => {
    const text = large('12345', 200_000)
    const broken = `${text.slice(0, 900_000)}x${text.slice(900_000)}`
    await expect(parseJsonInSlices(broken, { breathe })).rejects.toThrow(/at position 90000[0-9]$/)
  })
})
