import { describe, expect, test } from 'vitest'
import {
  countOf,
  describePause,
  describeWait,
  formatCount,
  formatCountdown,
  formatDuration,
  formatRate,
  formatRelative,
  formatShare,
  formatUsd,
  shortenId,
} from '../../../dashboard/src/format.ts'

describe('formatCount', () => {
  test.each([
    [0, '0'],
    [1_234, '1,234'],
    [99_999, '99,999'],
    [123_456, '123K'],
    [-1_234, '-1,234'],
    [null, '–'],
    [Number.POSITIVE_INFINITY, '–'],
  ])('writes %s as %s', (count, text) => expect(formatCount(count)).toBe(text))
})

test('one is singular', () => {
  expect([0, 1, 1_234].map((count) => countOf(count, 'job'))).toEqual(['0 jobs', '1 job', '1,234 jobs'])
})

describe('formatRate', () => {
  test.each([
    [0, '0'],
    [0.25, '0.3'],
    [9.94, '9.9'],
    [9.96, '10'],
    [312.4, '312'],
  ])('writes %s as %s', (rate, text) => expect(formatRate(rate)).toBe(text))
})

describe('formatShare', () => {
  test.each([
    [0, '0 %'],
    [0.004, '<1 %'],
    [0.5, '50 %'],
    [0.999, '99 %'],
    [1, '100 %'],
    [1.27, '127 %'],
  ])('writes %s as %s, so that only what is full reads as full', (share, text) =>
    expect(formatShare(share)).toBe(text),
  )
})

describe('formatUsd', () => {
  test.each([
    [0, '$0.00'],
    [0.000_042_3, '$0.000042'],
    [0.0123, '$0.012'],
    [0.1, '$0.10'],
    [1.256, '$1.26'],
    [12_345.6, '$12,346'],
    [null, '–'],
  ])('writes %s as %s', (amount, text) => expect(formatUsd(amount)).toBe(text))
})

describe('formatDuration', () => {
  test.each([
    [0, '0 ms'],
    [639.6, '640 ms'],
    [1_234, '1.2 s'],
    [42_400, '42 s'],
    [60_000, '1 min'],
    [200_000, '3 min 20 s'],
    [7_500_000, '2 h 5 min'],
    [273_600_000, '3 d 4 h'],
    [-5, '0 ms'],
    [null, '–'],
  ])('writes %s ms as %s', (ms, text) => expect(formatDuration(ms)).toBe(text))
})

test('formatCountdown rounds up to whole seconds and ends at none', () => {
  expect([1, 1_001, 61_000, 0, -500].map(formatCountdown)).toEqual(['1 s', '2 s', '1 min 1 s', '0 s', '0 s'])
})

test('formatRelative says how long ago, or how long until, in one unit', () => {
  const now = 1_000_000_000
  const offsets = [-400, -12_000, -3_660_000, 30_000, 86_400_000 * 2]
  expect(offsets.map((offset) => formatRelative(now + offset, now))).toEqual([
    'now',
    '12 s ago',
    '1 h ago',
    'in 30 s',
    'in 2 d',
  ])
})

test('an unknown value is shown as it came', () => {
  expect(describePause('deploying')).toBe('deploying')
  expect(describePause(null)).toBe('no reason given')
  expect(describePause('breaker_open')).toContain('breaker')
  expect(describeWait('concurrency')).toBe('a free call slot')
  expect(describeWait('moon_phase')).toBe('moon phase')
})

test('shortenId keeps short ids whole and the random end of long ones', () => {
  expect(shortenId('job_1')).toBe('job_1')
  expect(shortenId('job_01a20b8bf7fd7000b0d402c017fd7d36')).toBe('job_01a2…fd7d36')
})
