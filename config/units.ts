/** `20ms`, `5s`, `1.5h`, `7d`: a number and one unit, without a blank. */
export const durationPattern = /^\d+(?:\.\d+)?(?:ms|s|m|h|d)$/

/** `512B`, `64KiB`, `1MB`: a number and one unit. KiB means 1024, KB 1000. */
export const sizePattern = /^\d+(?:\.\d+)?(?:B|KiB|MiB|GiB|KB|MB|GB)$/

const millisecondsPerUnit: ReadonlyMap<string, number> = new Map([
  ['ms', 1],
  ['s', 1000],
  ['m', 60_000],
  ['h', 3_600_000],
  ['d', 86_400_000],
])

const bytesPerUnit: ReadonlyMap<string, number> = new Map([
  ['B', 1],
  ['KB', 1000],
  ['MB', 1000 ** 2],
  ['GB', 1000 ** 3],
  ['KiB', 1024],
  ['MiB', 1024 ** 2],
  ['GiB', 1024 ** 3],
])

/** Integer milliseconds, rounded; null if the text is not a duration. */
export function parseDuration(text: string): number | null {
  return durationPattern.test(text) ? measure(text, millisecondsPerUnit) : null
}

/** Integer bytes, rounded; null if the text is not a size. */
export function parseSize(text: string): number | null {
  return sizePattern.test(text) ? measure(text, bytesPerUnit) : null
}

/** The shortest exact text that `parseDuration` accepts: 90000 is `90s`, 86400000 is `1d`. */
export function formatDuration(milliseconds: number): string {
  if (milliseconds === 0) return '0s'
  const [unit, length] =
    [...millisecondsPerUnit].reverse().find(([, length]) => milliseconds % length === 0) ??
    (['ms', 1] as const)
  return `${milliseconds / length}${unit}`
}

function measure(text: string, units: ReadonlyMap<string, number>): number | null {
  const unitAt = text.search(/[A-Za-z]/)
  const length = units.get(text.slice(unitAt))
  return length === undefined ? null : Math.round(Number(text.slice(0, unitAt)) * length)
}
