import { stripVTControlCharacters } from 'node:util'

/** Columns as wide as they need to be, numbers to the right; the first row is the head. */
export function renderTable(rows: string[][], alignment: ('left' | 'right')[]): string {
  const widths = alignment.map((_, column) => Math.max(...rows.map((row) => lengthOf(row[column] ?? ''))))
  const lines = rows.map((row) =>
    alignment
      .map((side, column) => pad(row[column] ?? '', widths[column]!, side))
      .join('  ')
      .trimEnd(),
  )
  return `${lines.join('\n')}\n`
}

function pad(text: string, width: number, side: 'left' | 'right'): string {
  const space = ' '.repeat(width - lengthOf(text))
  return side === 'left' ? text + space : space + text
}

/** Colours take no place. */
function lengthOf(text: string): number {
  return stripVTControlCharacters(text).length
}
