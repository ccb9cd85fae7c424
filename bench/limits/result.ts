import type { Machine } from '../machine.ts'
import type { Fairness, Forecast } from './backlog.ts'
import type { Comparison } from './compare.ts'
import type { FairKeys } from './fair-keys.ts'
import type { FamilyRow } from './families.ts'
import type { KneePhase } from './knee.ts'
import type { SourcesRow } from './sources.ts'
import type { SteadyRow } from './steady.ts'
import type { WayRow } from './ways.ts'

/** Everything that one run found out; what `bench/results/limits-*.json` holds. Null: that part was not run. */
export type LimitsResult = {
  at: string
  commit: string
  machine: Machine
  /** Processes that wanted to run in the last minute of the bench, on average. */
  loadAfter: number
  compare: Comparison | null
  half: Comparison | null
  shared: Comparison | null
  steady: SteadyRow[] | null
  families: FamilyRow | null
  sources: SourcesRow | null
  ways: WayRow[] | null
  fairness: Fairness | null
  keys: FairKeys | null
  eta: Forecast[] | null
  knee: KneePhase[] | null
  checks: Check[]
}

export type Check = { goal: string; holds: boolean; found: string }
