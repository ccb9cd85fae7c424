/** `1,234,567` */
export function formatNumber(number: number): string {
  return number.toLocaleString('en-US')
}

/** `3 d 4 h`, `2 h 5 min`, `3 min 20 s`, `45 s`: the two largest units, rounded up to whole seconds. */
export function formatDuration(exact: number): string {
  const seconds = Math.ceil(exact)
  if (seconds < 60) return `${seconds} s`
  const minutes = Math.floor(seconds / 60)
  if (minutes < 60) return `${minutes} min ${seconds % 60} s`
  const hours = Math.floor(minutes / 60)
  return hours < 24 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`
}

/** With cents; amounts below a dollar with three significant digits. Null: unknown. */
export function formatUsd(usd: number | null): string {
  if (usd === null) return '-'
  if (usd === 0 || usd >= 1)
    return `$${usd.toLocaleString('en-US', { minimumFractionDigits: 2, maximumFractionDigits: 2 })}`
  return `$${usd.toLocaleString('en-US', { maximumSignificantDigits: 3 })}`
}

/** `$1.20`, or `$1.20, 3 unpriced` if some calls have no price. */
export function formatCostSum(cost: { cost_usd: number | null; unpriced_calls: number }): string {
  const known = formatUsd(cost.cost_usd)
  return cost.unpriced_calls > 0 ? `${known}, ${formatNumber(cost.unpriced_calls)} unpriced` : known
}

/**
 * The time since a moment, or until it with `in`, in its largest unit: `45 s`, `3 min`, `2 h`, `5 d`.
 *
 * @param time RFC 3339; null is shown as `-`
 * @param now Unix ms
 */
export function formatAge(time: string | null, now: number): string {
  if (time === null) return '-'
  const seconds = Math.round((now - Date.parse(time)) / 1000)
  const age = largestUnit(Math.abs(seconds))
  return seconds < 0 ? `in ${age}` : age
}

function largestUnit(seconds: number): string {
  if (seconds < 60) return `${seconds} s`
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`
  return seconds < 86_400 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86_400)} d`
}
