import { createTenantEvents, type TenantEvents } from '../events/events.ts'
import type { Followed } from '../events/followed.ts'
import { createTips } from '../events/tips.ts'
import { createFlowEvents } from '../flows/event-source.ts'
import { BUDGET_PREFIX, createBudgetEvents } from '../jobs/budget-events.ts'
import { createJobEvents, type MovedEvents } from '../jobs/event-source.ts'
import { tenantRoot } from '../jobs/keys.ts'
import type { PubSub } from '../jobs/pubsub.ts'
import { createReader } from '../jobs/read.ts'

type ReaderDeps = Parameters<typeof createReader>[0]

/** All events of a tenant. Each kind of object with events is a source here. */
export function openTenantEvents(
  deps: ReaderDeps & {
    pubsub: Pick<PubSub, 'keepListening'>
    followed: Followed
    prefix: string
    /** Null: there is no history. */
    movedEvents: MovedEvents | null
    /** Reads a flow by its tenant's root and its id. */
    readFlow: Parameters<typeof createFlowEvents>[0]['read']
    now: () => number
  },
): TenantEvents {
  const { redis, pubsub, followed, prefix, now } = deps
  return createTenantEvents({
    redis,
    tips: createTips({ redis, followed, keepListening: pubsub.keepListening }),
    rootOf: (tenant) => tenantRoot(prefix, tenant),
    sources: {
      job_: createJobEvents({ redis, reader: createReader(deps), movedEvents: deps.movedEvents }),
      flow_: createFlowEvents({ redis, atRest: deps.atRest, read: deps.readFlow }),
      [BUDGET_PREFIX]: createBudgetEvents({ redis }),
    },
    now,
  })
}
