/** Cells that a spreadsheet would take for a formula. */
const FORMULA = /^[=+\-@\t\r]/

/** A table as RFC 4180 has it, with the names of its columns first. */
export function toCsv(columns: readonly string[], rows: readonly Record<string, unknown>[]): string {
  const lines = rows.map((row) => columns.map((name) => toCell(row[name])).join(','))
  return [columns.join(','), ...lines, ''].join('\r\n')
}

function toCell(value: unknown): string {
  if (value === null || value === undefined) return ''
  if (typeof value === 'number') return toPlain(value)
  const text = FORMULA.test(String(value)) ? `'${value}` : String(value)
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

/** Without an exponent: billionths are the least. */
function toPlain(value: number): string {
  return Number.isInteger(value) ? String(value) : value.toFixed(9).replace(/\.?0{1,9}$/, '')
}
