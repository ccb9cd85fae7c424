/** Replaces values beyond the limit. */
export const OTHER = 'other'

/**
 * Limits the values of a label, because each value is a separate series in every store. Configured values and the first `most` others are
 * kept. Later ones become `other`. So a client that invents names displaces no configured value.
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

/** Limits for names that the configuration or, with models `"*"`, clients choose. Shared by all metrics of a process. */
export type LabelBounds = { lane(value: string): string; tenant(value: string): string }
