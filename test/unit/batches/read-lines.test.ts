import fc from 'fast-check'
import { expect, it } from 'vitest'
import { type InputLine, readLines } from '../../../batches/read-lines.ts'

async function* cut(content: Buffer, size: number) {
  for (let at = 0; at < content.length; at += size) yield content.subarray(at, at + size)
}

const read = (content: Buffer | string, size = 7, from = 0): Promise<InputLine[]> =>
  Array.fromAsync(readLines(cut(Buffer.from(content).subarray(from), size), { from, limit: 20 }))
const texts = (lines: InputLine[]) => lines.map(({ text }) => text?.toString())

it('finds the lines of a file, however that is cut, and counts the blank ones it passes over', async () => {
  const content = 'one\n\n  \t\r\ntwo\r\nthrée\n\nlast'
  for (let size = 1; size < 30; size++) {
    const lines = await read(content, size)
    expect(texts(lines)).toEqual(['one', 'two\r', 'thrée', 'last'])
    expect(lines.map(({ number }) => number)).toEqual([1, 4, 5, 7])
  }
})

it('gives the place where each line begins, so that reading can go on from any of them', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.string({ maxLength: 18 }).map((text) => text.replaceAll(/[\n\r]/g, '.'))),
      fc.integer({ min: 1, max: 40 }),
      async (given, size) => {
        const content = Buffer.from(`\ufeff${given.join('\n')}`)
        const lines = await read(content, size)
        for (const [index, { start, end }] of lines.entries()) {
          expect(texts(await read(content, size, start))).toEqual(texts(lines.slice(index)))
          expect(texts(await read(content, size, end))).toEqual(texts(lines.slice(index + 1)))
        }
      },
    ),
    { numRuns: 60 },
  )
})

it('takes a byte order mark off the first line alone', async () => {
  expect(texts(await read('\ufeffone\n\ufefftwo'))).toEqual(['one', '\ufefftwo'])
})

it('reports a line that is too long, without holding it, and goes on', async () => {
  const lines = await read(`a\n${'b'.repeat(50)}\nc\n${'d'.repeat(20)}\n${'e'.repeat(21)}`)
  expect(texts(lines)).toEqual(['a', undefined, 'c', 'd'.repeat(20), undefined])
  expect(lines[1]).toMatchObject({ number: 2, start: 2, end: 53 })
})

it('finds nothing in an empty file', async () => {
  expect(await read('')).toEqual([])
  expect(await read('\n \n')).toEqual([])
})
