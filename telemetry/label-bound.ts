/** What stands for the values beyond the bound. */
export const OTHER = 'other'

/**
 * Bounds the values of a label, for each is a series of its own wherever it is stored: what is configured stands for itself, as
 * do the first `most` others; those that come later for `other`. So nobody who makes names up takes a place from the configuration.
 */
export function createLabelBound(
  most: number,
  isConfigured: (value: string) => boolean,
): (value: string) => string {
  const known = new Set<string>()
  return (value) => {
    if (known.has(value) || isConfigured(value)) return value
    if (known.size >= most) return OTHER
    known.add(value)
    return value
  }
}

/** Of names that the configuration or, with models `"*"`, clients choose; one for all metrics of a process. */
export type LabelBounds = { lane(value: string): string; tenant(value: string): string }
