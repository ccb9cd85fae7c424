import { FULL_WINDOW_SECONDS, type FullWindow, measureFullWindow } from './full-window.ts'

/** `shares`: of the sum of the limits. */
export type SourcesRow = Pick<FullWindow, 'shares' | 'refused'> & {
  /** Billed of each key over the same time, of all. */
  keys: Record<string, number>
}

/** The share of the limits that each key has. */
const SHARES = { main: 0.5, second: 0.3, third: 0.2 }
const MODEL = 'sources'

/** One lane with three sources with different limits and more work than they grant together. */
export async function measureSources(say: (line: string) => void): Promise<SourcesRow> {
  say(`Sources: a lane with three of different limits, two workers, for ${FULL_WINDOW_SECONDS} s`)
  const { parts, ...row } = await measureFullWindow({
    name: 'sources',
    upstream: { keys: SHARES },
    sluice: { sources: { model: MODEL, shares: SHARES } },
    models: [MODEL],
    parts: Object.keys(SHARES),
    nameOf: (call) => call.key ?? null,
  })
  return { ...row, keys: parts }
}
