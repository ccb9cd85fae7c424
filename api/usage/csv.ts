/** Cells that a spreadsheet would interpret as a formula. */
const FORMULA = /^[=+\-@\t\r]/

/** A table in the format of RFC 4180, with a header line. */
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

/** Formats without an exponent: billionths are the smallest part. */
function toPlain(value: number): string {
  return Number.isInteger(value) ? String(value) : value.toFixed(9).replace(/\.?0{1,9}$/, '')
}
