import { createParser } from 'eventsource-parser'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createEventParser, type ParsedEvent } from '../../../client/event-parser.ts'

/** Lines as streams have them, and some that only the standard knows. */
const line = fc.oneof(
  fc.constantFrom(': keep-alive', 'retry: 1000', 'data', 'id', 'event: job.delta', 'strange: field', ''),
  fc.tuple(fc.constantFrom('data: ', 'data:', 'id: ', 'event: '), fc.string({ unit: 'grapheme' })).map(
    // The reference implementation and the standard differ about a line end inside of a line.
    ([name, value]) => name + value.replaceAll(/[\r\n\0]/g, ''),
  ),
)

function readWithReference(text: string): ParsedEvent[] {
  const events: ParsedEvent[] = []
  let last = ''
  const parser = createParser({
    onEvent: ({ id, event, data }) => {
      last = id ?? last
      events.push({ id: last, type: event || 'message', data })
    },
  })
  parser.feed(text)
  return events
}

/** Every byte alone: in the middle of characters and of line ends too. */
const everywhere = Array.from({ length: 4_000 }, (_, place) => place)

test('reads what the reference implementation reads, at any cut of the bytes', () => {
  fc.assert(
    fc.property(
      fc.array(line),
      fc.constantFrom('\n', '\r\n'),
      fc.oneof(fc.array(fc.nat(400)), fc.constant(everywhere)),
      (lines, lineEnd, places) => {
        // The standard remembers an id before an event without data; the reference forgets it.
        const text = [...lines.filter((one) => !one.startsWith('id')), 'data: last', '', ''].join(lineEnd)
        const bytes = new TextEncoder().encode(text)
        const cuts = [
          0,
          ...places.filter((place) => place < bytes.length).sort((a, b) => a - b),
          bytes.length,
        ]
        const parser = createEventParser()
        const events = cuts.slice(1).flatMap((cut, index) => parser.push(bytes.subarray(cuts[index], cut)))
        expect(events).toEqual(readWithReference(text))
      },
    ),
  )
})

test('an event has the id that was named last, and an incomplete one is dropped', () => {
  const parser = createEventParser()
  const push = (text: string) => parser.push(new TextEncoder().encode(text))
  expect(push('\uFEFFid: 7\n\ndata: one\n\n')).toEqual([{ id: '7', type: 'message', data: 'one' }])
  expect(push('event: job.started\rdata: two\rdata: lines\r\rid: 8\n')).toEqual([
    { id: '7', type: 'job.started', data: 'two\nlines' },
  ])
  expect(push('data: three')).toEqual([])
})

test('a long line takes time by its length, however many pieces it comes in', () => {
  const piece = new TextEncoder().encode('x'.repeat(256))
  const cost = (pieces: number) => {
    const parser = createEventParser()
    const before = process.cpuUsage().user
    parser.push(new TextEncoder().encode('data: '))
    for (let index = 0; index < pieces; index++) parser.push(piece)
    expect(parser.push(new TextEncoder().encode('\n\n'))[0]!.data).toHaveLength(pieces * 256)
    return (process.cpuUsage().user - before) / 1000
  }
  // Searching it again with each piece would take over ten seconds.
  expect(cost(40_000)).toBeLessThan(1_000)
})
