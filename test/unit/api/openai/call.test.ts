import { expect, it } from 'vitest'
import { readCacheMode } from '../../../../api/openai/call.ts'

it.each([
  [undefined, 'use'],
  ['', 'use'],
  ['max-age=0', 'use'],
  ['no-cache', 'refresh'],
  ['No-Cache, max-age=0', 'refresh'],
  ['no-cache, no-store', 'off'],
  ['no-store', 'off'],
])('reads Cache-Control: %s as %s', (header, mode) => {
  expect(readCacheMode(header)).toBe(mode)
})
