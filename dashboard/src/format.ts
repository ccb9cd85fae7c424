/** Formats numbers, amounts and times for people. The locale is English, like the page. */

const whole = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 })
const compact = new Intl.NumberFormat('en-US', { notation: 'compact', maximumSignificantDigits: 3 })
const absolute = new Intl.DateTimeFormat('en-GB', {
  dateStyle: 'medium',
  timeStyle: 'long',
  hourCycle: 'h23',
})
/** Shown in place of a missing value. */
export const nothing = '–'

/** `1,234`; from a hundred thousand `1.23M`. */
export function formatCount(count: number | null): string {
  if (count === null || !Number.isFinite(count)) return nothing
  return Math.abs(count) < 100_000 ? whole.format(count) : compact.format(count)
}

/** `1 job`, `1,234 jobs`. */
export function countOf(count: number, name: string): string {
  return `${formatCount(count)} ${name}${count === 1 ? '' : 's'}`
}

/** `9.4`, `312`, `1.23M`: one decimal if there is only one digit before the point. */
export function formatRate(rate: number | null): string {
  if (rate === null || !Number.isFinite(rate)) return nothing
  return rate > 0 && rate < 9.95 ? rate.toFixed(1) : formatCount(Math.round(rate))
}

/** @param share 0 to 1 */
export function formatShare(share: number): string {
  const percent = share * 100
  if (percent > 0 && percent < 1) return '<1 %'
  // Rounding must not show 100 % for something that is not full.
  return `${whole.format(percent < 100 ? Math.min(99, Math.round(percent)) : percent)} %`
}

/** `$0.00042`, `$1.25`, `$1,204`: small amounts keep two significant digits. */
export function formatUsd(amount: number | null): string {
  if (amount === null) return nothing
  const size = Math.abs(amount)
  if (size === 0) return '$0.00'
  if (size >= 1_000) return `$${formatCount(amount)}`
  if (size >= 0.1) return `$${amount.toFixed(2)}`
  const digits = Math.min(8, 1 - Math.floor(Math.log10(size)))
  return `$${amount.toFixed(digits)}`
}

/** The sum of what calls cost; says how many calls have no price. */
export function formatCostSum(cost: { cost_usd: number | null; unpriced_calls: number }): string {
  const known = formatUsd(cost.cost_usd)
  return cost.unpriced_calls > 0 ? `${known}, ${countOf(cost.unpriced_calls, 'call')} unpriced` : known
}

/** `640 ms`, `1.2 s`, `42 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`. */
export function formatDuration(ms: number | null): string {
  if (ms === null || !Number.isFinite(ms)) return nothing
  const size = Math.max(0, ms)
  if (size < 1_000) return `${Math.round(size)} ms`
  if (size < 9_950) return `${(size / 1_000).toFixed(1)} s`
  return formatLong(Math.round(size / 1_000))
}

/** Like `formatDuration`, but in whole seconds, for countdowns. */
export function formatCountdown(ms: number): string {
  return formatLong(Math.max(0, Math.ceil(ms / 1_000)))
}

const steps = [
  { unit: 'd', seconds: 86_400 },
  { unit: 'h', seconds: 3_600 },
  { unit: 'min', seconds: 60 },
  { unit: 's', seconds: 1 },
]

/** The two largest units. */
function formatLong(seconds: number): string {
  const index = Math.max(
    0,
    steps.findIndex((step) => seconds >= step.seconds),
  )
  const [large, small] = [steps[seconds === 0 ? steps.length - 1 : index]!, steps[index + 1]]
  const count = Math.floor(seconds / large.seconds)
  const rest = small === undefined ? 0 : Math.floor((seconds % large.seconds) / small.seconds)
  return rest > 0 ? `${count} ${large.unit} ${rest} ${small!.unit}` : `${count} ${large.unit}`
}

/** `now`, `12 s ago`, `in 3 min`: one unit, to read at a glance. */
export function formatRelative(at: number, now: number): string {
  const seconds = Math.round((at - now) / 1_000)
  const size = Math.abs(seconds)
  if (size < 1) return 'now'
  const step = steps.find((one) => size >= one.seconds)!
  const text = `${Math.floor(size / step.seconds)} ${step.unit}`
  return seconds < 0 ? `${text} ago` : `in ${text}`
}

/** Date, time and zone, for titles. */
export function formatAbsolute(at: number): string {
  return absolute.format(at)
}

const pauseReasons: Record<string, string> = {
  breaker_open: 'the provider is down (its breaker is open)',
  throttled: 'the provider answered 429',
  rate_limit_exceeded: 'the provider answered 429',
}

/** The reason of a lane's pause in words; a reason that an operator wrote stays as it is. */
export function describePause(reason: string | null): string {
  return reason === null ? 'no reason given' : (pauseReasons[reason] ?? reason)
}

const waits: Record<string, string> = {
  requests: 'the request limit',
  tokens: 'the token limit',
  concurrency: 'a free call slot',
  provider_pause: 'the pause of its lane',
  retry_delay: 'its next try',
  schedule: 'its time',
  tenant_pause: 'the pause of its tenant',
  provider_batch: 'the next batch of its provider',
}

/** What a wait is for, as the end of a sentence: `the token limit`. */
export function describeWait(waitingFor: string): string {
  return waits[waitingFor] ?? waitingFor.replaceAll('_', ' ')
}

/** Turns names such as `job.completed` or `in_progress` into words. */
export function toWords(name: string): string {
  return name.replaceAll('_', ' ')
}

/** An id shortened for a table; put the whole id into the title. The end of an id is random, so it is kept. */
export function shortenId(id: string): string {
  return id.length <= 18 ? id : `${id.slice(0, 8)}…${id.slice(-6)}`
}

const units = ['B', 'KB', 'MB', 'GB', 'TB']

/** `512 B`, `1.2 KB`, `34 MB`: powers of a thousand. */
export function formatBytes(bytes: number): string {
  const power = bytes < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(bytes) / 3))
  const size = bytes / 1_000 ** power
  return `${power > 0 && size < 9.95 ? size.toFixed(1) : Math.round(size)} ${units[power]}`
}
