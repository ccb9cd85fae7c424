/** The latest few of a row of numbers. */
export type Latest = {
  add(value: number): void
  /** Nine of ten were at most this; null: there is none. */
  mostly(): number | null
}

/** @param most how many are remembered */
export function createLatest(most: number): Latest {
  const latest: number[] = []
  return {
    add(value) {
      latest.push(value)
      if (latest.length > most) latest.shift()
    },
    mostly() {
      const sorted = latest.toSorted((one, other) => one - other)
      return sorted[Math.ceil(sorted.length * 0.9) - 1] ?? null
    },
  }
}
