import { stripVTControlCharacters } from 'node:util'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { formatAge } from '../../../cli/format.ts'
import { type Column, renderColumns, widthOf } from '../../../cli/table.ts'

const columns: Column[] = [
  { title: 'ID' },
  { title: 'NAME', least: 6 },
  { title: 'NOTE', least: 8, leaveOut: 1 },
  { title: 'USD', side: 'right', leaveOut: 2 },
]
const lines = (text: string) => stripVTControlCharacters(text).trimEnd().split('\n')

test('a cell with room is whole', () => {
  const rows = [
    ['1', 'short', 'a note', '$1.00'],
    ['2', '\x1b[31mred\x1b[39m', '', '$10.00'],
  ]
  expect(renderColumns(columns, rows, 80)).toBe(
    [
      'ID  NAME   NOTE       USD',
      '1   short  a note   $1.00',
      '2   \x1b[31mred\x1b[39m            $10.00',
      '',
    ].join('\n'),
  )
})

test('the longest cells are cut first, and colours stay around the rest', () => {
  const rows = [['1', `\x1b[31m${'n'.repeat(30)}\x1b[39m`, 'a note of twenty ch', '$1.00']]
  const table = renderColumns(columns, rows, 50)
  expect(lines(table)[1]).toBe(`1   ${'n'.repeat(17)}…  a note of twenty ch  $1.00`)
  expect(table).toContain(`\x1b[31m${'n'.repeat(17)}…\x1b[39m`)
})

test('where cut cells have no room either, columns are left out, the least important first', () => {
  const rows = [['1'.repeat(20), 'a name', 'a long note', '$1.00']]
  expect(lines(renderColumns(columns, rows, 42))[0]).toMatch(/^ID +NAME +NOTE$/)
  expect(lines(renderColumns(columns, rows, 30))[0]).toMatch(/^ID +NAME$/)
  expect(renderColumns(columns, rows, 10)).toContain('1'.repeat(20))
})

test('no line is longer than the width if the minimum fits, and unbreakable cells stay whole', () => {
  const cell = fc.string({ unit: fc.constantFrom('a', 'b', ' '), maxLength: 40 }).map((text) => text.trim())
  const row = fc.tuple(fc.stringMatching(/^[a-z]{1,20}$/), cell, cell, fc.stringMatching(/^\d{1,12}$/))
  fc.assert(
    fc.property(fc.array(row, { maxLength: 8 }), fc.integer({ min: 28, max: 120 }), (rows, width) => {
      const shown = lines(renderColumns(columns, rows, width))
      expect(shown).toHaveLength(rows.length + 1)
      expect(Math.max(...shown.map((line) => line.length))).toBeLessThanOrEqual(width)
      for (const [at, [id]] of rows.entries()) expect(shown[at + 1]).toMatch(new RegExp(`^${id}( |$)`))
    }),
  )
})

test('a table is as wide as the terminal, and 80 columns where there is none', () => {
  expect([{}, { columns: 40 }, { columns: 200 }].map(widthOf)).toEqual([80, 80, 200])
})

test.each([
  [null, '-'],
  ['2026-11-30T12:00:00.000Z', '0 s'],
  ['2026-11-30T11:59:15.000Z', '45 s'],
  ['2026-11-30T11:57:01.000Z', '2 min'],
  ['2026-11-30T09:00:00.000Z', '3 h'],
  ['2026-11-25T10:00:00.000Z', '5 d'],
  ['2026-11-30T15:00:00.000Z', 'in 3 h'],
])('the time %s reads as %s at noon', (time, text) => {
  expect(formatAge(time, Date.parse('2026-11-30T12:00:00Z'))).toBe(text)
})
