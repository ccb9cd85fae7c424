import { FULL_WINDOW_SECONDS, type FullWindow, measureFullWindow } from './full-window.ts'

export type FamilyRow = Pick<FullWindow, 'shares' | 'refused'> & {
  /** Admitted of each lane over the same time, of all. */
  lanes: Record<string, number>
}

const MODELS = ['family-1', 'family-2']
const FAMILY = 'family-*'

/** Two lanes of one family, each with more work than the limit that they share. */
export async function measureFamilies(say: (line: string) => void): Promise<FamilyRow> {
  say(`Families: two lanes that share a limit, two workers, for ${FULL_WINDOW_SECONDS} s`)
  const { parts, ...row } = await measureFullWindow({
    name: 'family',
    upstream: { family: FAMILY },
    sluice: { family: FAMILY },
    models: MODELS,
    parts: MODELS,
    nameOf: (call) => call.model,
  })
  return { ...row, lanes: parts }
}
