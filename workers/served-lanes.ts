import { hasSuccessors, type Lane, listLanes, resolveLane, successorOf } from '../config/lanes.ts'
import type { Config } from '../config/schema.ts'
import type { Claimed } from '../jobs/claim.ts'
import type { Provider } from '../providers/provider.ts'
import type { SourcePlace } from '../providers/registry.ts'

/** A lane as this process serves it. */
export type ServedLane = {
  readonly id: string
  /** Reads the configuration again. False: it does not name the lane any more. */
  refresh(): boolean
  /** The settings of the lane at the last `refresh` that found it. */
  current(): Lane
  /** The lane that serves a model's jobs if this lane cannot; null: there is none. */
  successor(job: Pick<Claimed, 'model' | 'unfitLanes'>): string | null
  /** Whether this lane has a successor in any route. */
  hasSuccessors(): boolean
  /** The adapter for a source of the lane; null: for a lane without sources. */
  provider(source: string | null): Provider
}

/** The lanes of the configuration, as this process serves them. */
export type ServedLanes = {
  /** Null: the configuration has no such lane. */
  find(id: string): ServedLane | null
  /** The ids of the lanes that the configuration names. Lanes that only `*` admits are not among them. */
  listNamed(): string[]
}

export function createServedLanes(deps: {
  config: () => Config
  /** The adapter for a provider, or for one source of one of its models. */
  provider: (name: string, at: SourcePlace | null) => Provider
}): ServedLanes {
  const { config } = deps

  function serve(id: string, found: Lane): ServedLane {
    let current = found
    const { provider, model } = found
    return {
      id,
      refresh() {
        const lane = resolveLane(config(), id)
        current = lane ?? current
        return lane !== null
      },
      current: () => current,
      successor: ({ model, unfitLanes }) => successorOf(config(), model, id, unfitLanes),
      hasSuccessors: () => hasSuccessors(config(), id),
      provider: (source) => deps.provider(provider, source === null ? null : { model, source }),
    }
  }

  return {
    find(id) {
      const lane = resolveLane(config(), id)
      return lane && serve(id, lane)
    },
    listNamed: () => listLanes(config()).map(({ id }) => id),
  }
}
