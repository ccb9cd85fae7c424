/** Replaces the values beyond the bound. */
export const OTHER = 'other'

/**
 * Bounds the values of a label, because each value is a series of its own in every store. Configured values stay, as
 * do the first `most` others. Later ones become `other`. So a client that invents names takes no place from the configuration.
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
