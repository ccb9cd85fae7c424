import type { KeyTerms } from '../config/key-terms.ts'
import type { AtRest } from '../jobs/at-rest.ts'
import type { Jobs } from '../jobs/jobs.ts'
import type { NewJob } from '../jobs/new-job.ts'
import type { JsonValue } from '../lib/json.ts'
import type { FlowError } from './flow.ts'
import type { LoadedFlow } from './record.ts'

/** Dependencies for advancing a flow. */
export type AdvanceDeps = {
  prefix: string
  jobs: Pick<Jobs, 'createMany' | 'outcomes' | 'statuses' | 'cancel'>
  /** Turns a filled create object into a job, or says why it cannot. Null: the tenant is no longer configured. */
  toJob: (tenant: string, create: JsonValue, place: string, terms: KeyTerms) => NewJob | FlowError | null
  /** Reads the stored value of a step; undefined: there is none. */
  readValue: (tenant: string, id: string, step: number) => Promise<JsonValue | undefined>
  atRest: AtRest
  bounds: () => { elements: number; valueBytes: number }
  /** The most open jobs of one step, if the step sets no limit. */
  window: (tenant: string) => number
  now: () => number
  onError: (error: unknown, what: string) => void
}

/** A flow in this process's memory, with the lists of its active steps and the errors of its elements. */
export type CachedFlow = LoadedFlow & { items: Map<number, JsonValue[]>; errors: Map<string, number> }
