import { expect, it } from 'vitest'
import { chooseRequestId } from '../../../api/request-id.ts'

it("keeps a client's id that is harmless", () => {
  expect(chooseRequestId('trace_1.a-B', () => 'fresh')).toBe('trace_1.a-B')
  expect(chooseRequestId('x'.repeat(128), () => 'fresh')).toHaveLength(128)
})

it.each([undefined, '', 'x'.repeat(129), 'a b', 'a\nb', 'a"b', ['a', 'b']])('replaces %j', (given) => {
  expect(chooseRequestId(given, () => 'fresh')).toBe('fresh')
})
