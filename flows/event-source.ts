import type { AtRest } from '../jobs/at-rest.ts'
import type { EventSource } from '../lib/event-references.ts'
import type { RedisClient } from '../lib/redis.ts'
import { type FlowEvent, renderFlowEvent } from './follow.ts'
import { flowKey } from './keys.ts'
import type { FlowView } from './view.ts'

/**
 * Reads events of flows by their references, for all events of a tenant.
 *
 * @param deps.read reads the present flow; null: it is gone
 */
export function createFlowEvents(deps: {
  redis: RedisClient
  atRest: AtRest
  read: (root: string, id: string) => Promise<FlowView | null>
}): EventSource<FlowEvent> {
  const { redis, atRest } = deps
  return {
    async resolve(root, references, filter) {
      // Filters by type, lane or durable run ask for jobs.
      const { type, lane, durable } = filter
      if ((type ?? lane ?? durable) !== undefined) return references.map(() => null)
      return Promise.all(
        references.map(async ({ id, seq }) => {
          if (filter.flow !== undefined && filter.flow !== id) return null
          const [text, group] = await Promise.all([
            redis.lindex(`${flowKey(root, id)}:events`, seq - 1),
            filter.group === undefined ? null : redis.hget(flowKey(root, id), 'group'),
          ])
          // The flow belongs to another group, or was deleted since.
          if (text === null || group !== (filter.group ?? null)) return null
          return renderFlowEvent({ atRest, read: () => deps.read(root, id) }, { root, id, seq }, text)
        }),
      )
    },
  }
}
