import type { KeyTerms } from '../config/key-terms.ts'
import type { AtRest } from '../jobs/at-rest.ts'
import type { Jobs, NewJob } from '../jobs/jobs.ts'
import type { JsonValue } from '../lib/json.ts'
import type { FlowError } from './flow.ts'
import type { LoadedFlow } from './record.ts'

/** What it takes to look at a flow. */
export type AdvanceDeps = {
  prefix: string
  jobs: Pick<Jobs, 'createMany' | 'outcomes' | 'statuses' | 'cancel'>
  /** The job that a filled create object asks for, or why there is none. Null: the tenant is not configured any more. */
  toJob: (tenant: string, create: JsonValue, place: string, terms: KeyTerms) => NewJob | FlowError | null
  /** The value kept for a step of a flow; undefined: none. */
  readValue: (tenant: string, id: string, step: number) => Promise<JsonValue | undefined>
  atRest: AtRest
  bounds: () => { elements: number; valueBytes: number }
  /** Most jobs of one step that may be open where it does not say. */
  window: (tenant: string) => number
  now: () => number
  onError: (error: unknown, what: string) => void
}

/** A flow in the memory of this process, with the elements of steps under way. */
export type CachedFlow = LoadedFlow & { items: Map<number, JsonValue[]>; errors: Map<string, number> }
