/** The latest few values of a series of numbers. */
export type Latest = {
  add(value: number): void
  /** 90% of the values were at most this; null: there are none. */
  mostly(): number | null
}

/** @param most how many values are remembered */
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
