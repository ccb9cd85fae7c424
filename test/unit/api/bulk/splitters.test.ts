import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Piece, Splitter } from '../../../../api/bulk/pieces.ts'
import { createArraySplitter } from '../../../../api/bulk/split-array.ts'
import { createLineSplitter } from '../../../../api/bulk/split-lines.ts'

const limit = 1024

function run(splitter: Splitter, chunks: Buffer[]): Piece[] {
  return [...chunks.flatMap((chunk) => [...splitter.push(chunk)]), ...splitter.end()]
}

function texts(pieces: Piece[]): string[] {
  return pieces.map((piece) =>
    piece.kind === 'job' ? piece.text.toString('utf8').trim() : `<${piece.kind}>`,
  )
}

/** Cuts bytes at the given places, which may leave empty chunks. */
function cut(bytes: Buffer, places: number[]): Buffer[] {
  const ends = [...places.map((place) => place % (bytes.length + 1)).sort((a, b) => a - b), bytes.length]
  return ends.map((end, index) => bytes.subarray(index === 0 ? 0 : ends[index - 1], end))
}

const places = fc.array(fc.nat(), { maxLength: 40 })

describe('the splitter of arrays', () => {
  const split = (text: string) => texts(run(createArraySplitter({ limit }), [Buffer.from(text)]))

  it('finds the same elements at any cut of the bytes', () => {
    fc.assert(
      fc.property(
        fc.array(fc.json({ maxDepth: 4 }), { maxLength: 8 }),
        fc.boolean(),
        places,
        (elements, spaced, at) => {
          const [open, comma, close] = spaced ? [' [\n', ' ,\r\n\t', '\n] \n'] : ['[', ',', ']']
          const bytes = Buffer.from(open + elements.join(comma) + close)
          const pieces = run(createArraySplitter({ limit: 1_000_000 }), cut(bytes, at))
          expect(texts(pieces)).toEqual(elements.map((element) => element.trim()))
        },
      ),
      { seed: 20261123, numRuns: 500 },
    )
  })

  it('finds them also when every byte comes alone', () => {
    const elements = [String.raw`{"a":"]},\"[{\\"}`, '"é,]"', '[[1,2],[]]', '-1.5e3', 'null']
    const bytes = [...Buffer.from(`\ufeff[${elements.join(',')}]`)].map((byte) => Buffer.from([byte]))
    expect(texts(run(createArraySplitter({ limit }), bytes))).toEqual(elements)
  })

  it.each([
    ['[]', []],
    [' [ \n ] ', []],
    ['[1,,2]', ['1', '', '2']],
    ['[1,]', ['1', '']],
    ['[,]', ['', '']],
    ['[nonsense, {"a": 1}]', ['nonsense', '{"a": 1}']],
  ])('leaves it to the parser whether an element of %s is valid', (text, elements) => {
    expect(split(text)).toEqual(elements)
  })

  it.each([
    ['', ['<broken>']],
    ['{"a":1}', ['<broken>']],
    ['[1,2', ['1', '<broken>']],
    ['["open', ['<broken>']],
    ['[1] [2]', ['1', '<broken>']],
  ])('gives up on %j and says so last', (text, pieces) => {
    expect(split(text)).toEqual(pieces)
  })

  it('drops an element that is too large and goes on with the next', () => {
    expect(split(`[1,"${'x'.repeat(limit)}",2]`)).toEqual(['1', '<too_large>', '2'])
  })
})

describe('the splitter of lines', () => {
  it('finds the same lines at any cut of the bytes', () => {
    const line = fc.string({ unit: 'grapheme' }).map((text) => JSON.stringify(text))
    fc.assert(
      fc.property(fc.array(line), fc.constantFrom('\n', '\r\n', '\n\n \n'), places, (lines, ending, at) => {
        const bytes = Buffer.from(lines.join(ending))
        expect(texts(run(createLineSplitter({ limit: 1_000_000 }), cut(bytes, at)))).toEqual(lines)
      }),
      { seed: 20261123, numRuns: 500 },
    )
  })

  it('takes a byte order mark off the beginning, even one that is cut', () => {
    const [first, ...rest] = [Buffer.from([0xef]), Buffer.from([0xbb, 0xbf, 0x31, 0x0a, 0x32])]
    expect(texts(run(createLineSplitter({ limit }), [first!, ...rest]))).toEqual(['1', '2'])
  })

  it('drops a line that is too large and goes on with the next', () => {
    const bytes = Buffer.from(`1\n${'x'.repeat(limit + 1)}\n2\n`)
    expect(texts(run(createLineSplitter({ limit }), [bytes]))).toEqual(['1', '<too_large>', '2'])
  })
})
