import { EventsExpiredError, NOW } from '../../events/events.ts'
import type { RouteContext } from '../deps.ts'
import { toApiError } from '../error-replies.ts'
import { ApiError, checkId, notFound, toErrorMembers } from '../errors.ts'
import { eventsExpired, followTenant } from '../events/routes.ts'
import { toFilter } from '../events/schema.ts'
import { checkCursor } from '../jobs/events-routes.ts'
import type { SseEvent } from '../sse.ts'
import type { Subscribe } from './messages.ts'
import type { Outlet } from './outlet.ts'

/** The subscriptions of one socket. Each counts as one of the tenant's streams. */
export type Subscriptions = {
  /** Resolves when events begin to come. Throws errors for the client; then nothing is followed. */
  add(message: Subscribe): Promise<void>
  /** Throws `invalid_request` for an unknown id. */
  remove(id: string): Promise<void>
  /** Sends a cursor for subscriptions whose filter lets nothing through. */
  mark(): void
  close(): void
}

type FollowedEvents = { events: AsyncIterable<SseEvent>; finished: boolean; cursor?: () => string }
type Subscription = { leaving: AbortController; cursor: (() => string) | null; told: string }

/**
 * @param deps.tenant owner of the events
 * @param deps.hold counts one of the tenant's streams; throws `rate_limited`
 */
export function createSubscriptions(deps: {
  context: Pick<RouteContext, 'deps'>
  tenant: string
  outlet: Outlet
  hold: () => () => void
  onError: (error: unknown) => void
}): Subscriptions {
  const { store, server } = deps.context.deps
  const { jobs, flows } = store
  const { tenant, outlet } = deps
  const known = new Map<string, Subscription>()

  async function follow(message: Subscribe, signal: AbortSignal): Promise<FollowedEvents> {
    const { job, group, flow, all, after = '', filter, deltas } = message
    const kinds = [job, group, flow, all].filter((kind) => kind !== undefined)
    if (kinds.length !== 1) throw fault('message', 'names one of job, group, flow and all')
    if (all === undefined && (filter !== undefined || deltas !== undefined)) {
      throw fault(filter === undefined ? 'deltas' : 'filter', 'comes only with all')
    }
    if (all) {
      const withDeltas = deltas === true
      const options = { cursor: after, filter: toFilter(filter ?? {}, withDeltas, 'filter.'), withDeltas }
      return { finished: false, ...(await followTenant(deps.context.deps, tenant, options, signal, 'after')) }
    }
    const found = await followOne({ job, group, flow }, after, signal)
    if (found === null) throw notFound(job !== undefined ? 'job' : flow !== undefined ? 'flow' : 'group')
    return found
  }

  function followOne(
    { job, group, flow }: Pick<Subscribe, 'job' | 'group' | 'flow'>,
    after: string,
    signal: AbortSignal,
  ) {
    if (job !== undefined)
      return jobs.follow(tenant, checkId(job, 'job'), checkCursor(after, 'job', 'after'), signal)
    // A flow's events are numbered like a job's.
    if (flow !== undefined)
      return flows.follow(tenant, checkId(flow, 'flow'), checkCursor(after, 'job', 'after'), signal)
    return jobs.followGroup(tenant, checkId(group!, 'group'), checkCursor(after, 'group', 'after'), signal)
  }

  /** Passes on events until there are no more, the client unsubscribes, or an error occurs. */
  async function pass(id: string, { leaving }: Subscription, events: AsyncIterable<SseEvent>): Promise<void> {
    try {
      for await (const { cursor, event, data } of events) {
        if (leaving.signal.aborted) return
        await outlet.send({ type: 'event', id, cursor, event, data })
      }
      if (!leaving.signal.aborted) await outlet.send({ type: 'end', id })
    } catch (error) {
      if (leaving.signal.aborted) return
      const shown =
        error instanceof EventsExpiredError ? eventsExpired('after') : toApiError(error, server.isUnavailable)
      if (shown.code === 'internal_error') deps.onError(error)
      await outlet.send({ type: 'error', id, error: toErrorMembers(shown) })
    }
  }

  return {
    async add(message) {
      const { id } = message
      if (known.has(id)) throw fault('id', 'is that of a subscription of this socket already')
      const release = deps.hold()
      const subscription: Subscription = { leaving: new AbortController(), cursor: null, told: '' }
      known.set(id, subscription)
      const end = () => {
        subscription.leaving.abort()
        if (known.get(id) === subscription) known.delete(id)
        release()
      }
      try {
        const followed = await follow(message, subscription.leaving.signal)
        if (message.all && message.after === NOW) {
          subscription.told = followed.cursor!()
          await outlet.send({ type: 'cursor', id, cursor: subscription.told })
        }
        if (message.filter !== undefined) subscription.cursor = followed.cursor ?? null
        pass(id, subscription, followed.events).finally(end)
      } catch (error) {
        end()
        throw error
      }
    },

    async remove(id) {
      const subscription = known.get(id)
      if (subscription === undefined) throw fault('id', 'is that of no subscription of this socket')
      known.delete(id)
      subscription.leaving.abort()
      await outlet.send({ type: 'end', id })
    },

    mark() {
      for (const [id, subscription] of known) {
        const now = subscription.cursor?.() ?? ''
        if (now === '' || now === subscription.told) continue
        subscription.told = now
        outlet.send({ type: 'cursor', id, cursor: now })
      }
    },

    close() {
      for (const { leaving } of known.values()) leaving.abort()
    },
  }
}

function fault(param: string, what: string): ApiError {
  return new ApiError('invalid_request', `${param}: ${what}`, { param })
}
