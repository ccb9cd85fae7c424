import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { formatDuration, parseDuration, parseSize } from '../../../config/units.ts'

describe('durations', () => {
  test.each([
    ['20ms', 20],
    ['0s', 0],
    ['60s', 60_000],
    ['1.5h', 5_400_000],
    ['5m', 300_000],
    ['7d', 604_800_000],
  ])('%s is %i milliseconds', (text, milliseconds) => {
    expect(parseDuration(text)).toBe(milliseconds)
  })

  test.each(['', '60', 's', '60 s', '-1s', '1h30m', '1e3s', '60S', '1w', ' 1s', '1s\n'])(
    '%j is not a duration',
    (text) => {
      expect(parseDuration(text)).toBeNull()
    },
  )

  test('a formatted duration reads back as the same one', () => {
    fc.assert(
      fc.property(fc.nat(), (milliseconds) => {
        expect(parseDuration(formatDuration(milliseconds))).toBe(milliseconds)
      }),
    )
  })

  test('formatting takes the largest unit that leaves no rest', () => {
    expect([0, 20, 90_000, 60_000, 7_200_000, 604_800_000].map(formatDuration)).toEqual([
      '0s',
      '20ms',
      '90s',
      '1m',
      '2h',
      '7d',
    ])
  })
})

describe('sizes', () => {
  test.each([
    ['512B', 512],
    ['1KiB', 1024],
    ['1MiB', 1_048_576],
    ['2GiB', 2_147_483_648],
    ['1KB', 1000],
    ['1.5MB', 1_500_000],
    ['1GB', 1_000_000_000],
  ])('%s is %i bytes', (text, bytes) => {
    expect(parseSize(text)).toBe(bytes)
  })

  test.each(['', '5', 'MiB', '1 MiB', '1mib', '-1B', '1TB'])('%j is not a size', (text) => {
    expect(parseSize(text)).toBeNull()
  })
})
