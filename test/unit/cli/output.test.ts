import { readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { expect, test } from 'vitest'
import { formatDuration, formatNumber, formatUsd } from '../../../cli/format.ts'
import { refuseInput } from '../../../cli/input-file.ts'
import { estimateFinish } from '../../../cli/submit/progress.ts'
import { renderTable } from '../../../cli/table.ts'

test.each([
  [0, '0 s'],
  [0.2, '1 s'],
  [59, '59 s'],
  [61, '1 min 1 s'],
  [7500, '2 h 5 min'],
  [100_000, '1 d 3 h'],
])('%d seconds read as %s', (seconds, text) => {
  expect(formatDuration(seconds)).toBe(text)
})

test('numbers and money read as people write them', () => {
  expect(formatNumber(1_234_567)).toBe('1,234,567')
  expect([0, 1234.5, 0.01234, 0.0000004].map(formatUsd)).toEqual([
    '$0.00',
    '$1,234.50',
    '$0.0123',
    '$0.0000004',
  ])
})

test('columns are as wide as their visible text', () => {
  const rows = [
    ['A', 'N'],
    ['\x1b[32mgreen\x1b[39m', '10'],
    ['b', '7'],
  ]
  expect(renderTable(rows, ['left', 'right'])).toBe('A       N\n\x1b[32mgreen\x1b[39m  10\nb       7\n')
})

test('the remaining time of a file counts what is not submitted yet', () => {
  const now = Date.parse('2026-11-29T12:00:00Z')
  const at = (total: number, submitted: number, ended: number) =>
    estimateFinish({ total, submitted, ended }, '2026-11-29T12:01:00.000Z', now)
  // 100 of 1,100 lines are open at the server and take a minute; 1,000 more take ten.
  expect(at(1200, 200, 100)).toBe('2026-11-29T12:11:00.000Z')
  expect(at(200, 200, 100)).toBe('2026-11-29T12:01:00.000Z')
  expect(at(1200, 200, 200)).toBe('2026-11-29T12:01:00.000Z')
  expect(estimateFinish({ total: 10, submitted: 5, ended: 1 }, null, now)).toBeNull()
})

test.each([
  ['/no/such/file', 'there is no such file'],
  [tmpdir(), 'it is a folder'],
])('an input that cannot be read is named with the reason: %s', async (path, reason) => {
  const error = await readFile(path).catch((refusal: unknown) => refuseInput(refusal, 'jobs.jsonl'))
  expect(error).toMatchObject({ exitCode: 2, message: `jobs.jsonl: ${reason}` })
})
