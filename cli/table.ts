import { stripVTControlCharacters } from 'node:util'

/** Maximum length of lines, unless the terminal is wider. */
const COLUMNS = 80
const GAP = 2

export type Column = {
  title: string
  side?: 'left' | 'right'
  /** Its cells may be cut to this many characters if there is no space. */
  least?: number
  /** It may be left out if even cut cells do not fit; the column with the highest number first. */
  leaveOut?: number
}

/** Columns of the terminal; at least 80, also without a terminal. */
export function widthOf(stdout: { columns?: number }): number {
  return Math.max(COLUMNS, stdout.columns ?? 0)
}

/** A table whose lines fit into a width: long cells are cut with `…`, then columns are left out. Other columns are never cut. */
export function renderColumns(columns: readonly Column[], rows: readonly string[][], width: number): string {
  let shown = columns.map((column, at) => ({ ...column, at }))
  for (;;) {
    const natural = shown.map(({ title, at }) =>
      Math.max(title.length, ...rows.map((row) => lengthOf(row[at] ?? ''))),
    )
    const widths = shrink(
      natural,
      shown.map(({ least, title }, index) =>
        least === undefined ? natural[index]! : Math.max(least, title.length),
      ),
      width - GAP * (shown.length - 1),
    )
    const last = shown.reduce((most, { leaveOut = 0 }) => Math.max(most, leaveOut), 0)
    if (widths === null && last > 0) {
      shown = shown.filter(({ leaveOut = 0 }) => leaveOut < last)
      continue
    }
    const cells = [
      shown.map(({ title }) => title),
      ...rows.map((row) => shown.map(({ at }, index) => cut(row[at] ?? '', (widths ?? natural)[index]!))),
    ]
    return renderTable(
      cells,
      shown.map(({ side = 'left' }) => side),
    )
  }
}

/** Reduces the widest column that may still be cut, until the sum fits; null if it never does. */
function shrink(natural: readonly number[], least: readonly number[], width: number): number[] | null {
  const widths = [...natural]
  for (let over = widths.reduce((sum, one) => sum + one, 0) - width; over > 0; over--) {
    let widest = -1
    for (const [index, one] of widths.entries())
      if (one > least[index]! && (widest < 0 || one > widths[widest]!)) widest = index
    if (widest < 0) return null
    widths[widest]!--
  }
  return widths
}

/** A cell has at most one colour, around all of its text. */
function cut(cell: string, width: number): string {
  const plain = stripVTControlCharacters(cell)
  return plain.length <= width ? cell : cell.replace(plain, () => `${plain.slice(0, width - 1)}…`)
}

/** Columns are as wide as their content. The first row is the header. */
export function renderTable(rows: string[][], alignment: ('left' | 'right')[]): string {
  const widths = alignment.map((_, column) => Math.max(...rows.map((row) => lengthOf(row[column] ?? ''))))
  const lines = rows.map((row) =>
    alignment
      .map((side, column) => pad(row[column] ?? '', widths[column]!, side))
      .join(' '.repeat(GAP))
      .trimEnd(),
  )
  return `${lines.join('\n')}\n`
}

function pad(text: string, width: number, side: 'left' | 'right'): string {
  const space = ' '.repeat(width - lengthOf(text))
  return side === 'left' ? text + space : space + text
}

/** Colours take no space. */
function lengthOf(text: string): number {
  return stripVTControlCharacters(text).length
}
