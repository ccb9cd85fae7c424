import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createSseParser } from '../../../providers/sse.ts'

function parse(chunks: Uint8Array[]): string[] {
  const events: string[] = []
  const parser = createSseParser((data) => events.push(data))
  for (const chunk of chunks) parser.push(chunk)
  parser.end()
  return events
}

test('data lines are joined; names, ids and comments are dropped', () => {
  const text = '\uFEFF: hello\nevent: x\nid: 1\ndata: one\ndata:two\n\n\n\ndata\n\ndata: [DONE]\n\n'
  expect(parse([Buffer.from(text)])).toEqual(['one\ntwo', '[DONE]'])
})

test('an event at the very end counts without its blank line', () => {
  expect(parse([Buffer.from('data: a\n\ndata: [DONE]')])).toEqual(['a', '[DONE]'])
})

test('cuts may be anywhere, inside characters and line ends too', () => {
  const text = 'data: {"a":"é😀"}\r\n\r\ndata: x\r\ndata: y\r\n\r\ndata: z\n\ndata: w\r\rdata: end\n\n'
  const bytes = Buffer.from(text)
  fc.assert(
    fc.property(fc.array(fc.nat(bytes.length), { maxLength: 12 }), (cuts) => {
      const places = [0, ...cuts.sort((left, right) => left - right), bytes.length]
      const chunks = places.slice(1).map((end, index) => bytes.subarray(places[index], end))
      expect(parse(chunks)).toEqual(['{"a":"é😀"}', 'x\ny', 'z', 'w', 'end'])
    }),
  )
})
