import { underTerms } from '../../config/key-terms.ts'
import { resolveTenant, type Tenant } from '../../config/tenants.ts'
import { isOver, type NewFlow } from '../../flows/flow.ts'
import type { JsonObject } from '../../lib/json.ts'
import type { Launched, Launcher, LaunchOrder } from '../../schedules/launch.ts'
import type { ApiStore } from '../deps.ts'
import { ApiError } from '../errors.ts'
import { checkFlow } from '../flows/check-flow.ts'
import type { FlowCheckDeps } from '../flows/check-job.ts'
import { type CreateFlow, createFlowSchema } from '../flows/schema.ts'
import { parseRequest } from '../issues.ts'
import { refuseOwnMetadata, toOwnMetadata } from './own-metadata.ts'

/** Retry after this time while the tenant has as many open flows as it may, ms. */
const FULL_MS = 1000

/** Refuses a flow that `POST /v1/flows` would refuse, with paths below `flow`. */
export async function checkScheduledFlow(
  tenant: Tenant,
  create: CreateFlow,
  deps: FlowCheckDeps,
): Promise<void> {
  refuseOwnMetadata(create.metadata, 'flow')
  await checkFlow(tenant, create, deps, { place: 'flow' })
}

/** Makes the flow of a slot. */
export async function toScheduledFlow(
  tenant: Tenant,
  create: JsonObject,
  order: Omit<LaunchOrder, 'tenant'>,
  deps: FlowCheckDeps,
): Promise<NewFlow> {
  const { idempotencyKey } = order
  const flow = await checkFlow(tenant, parseRequest(createFlowSchema, create, 'flow', 'flow'), deps, {
    idempotencyKey,
    place: 'flow',
  })
  const metadata = toOwnMetadata(flow.metadata, order)
  // The settings may change while a slot is under way; it is still the same slot.
  return { ...flow, metadata, fingerprint: idempotencyKey }
}

/** The error of a flow that exceeds the limit of open flows. */
export function flowsFull({ mostOpen }: Pick<NewFlow, 'mostOpen'>): ApiError {
  return new ApiError(
    'queue_full',
    `as many flows are open as a tenant may have (flows.max_open: ${mostOpen}); wait for some to finish`,
  )
}

/** Creates the flows of schedules, for the workers. */
export function createFlowLauncher(
  deps: FlowCheckDeps & { store: { flows: Pick<ApiStore['flows'], 'create' | 'get' | 'cancel'> } },
): Launcher {
  const { flows } = deps.store

  async function launch(create: JsonObject, order: LaunchOrder): Promise<Launched> {
    const owner = resolveTenant(deps.config(), order.tenant)
    if (owner === null) throw new Error('the tenant of a schedule is no longer configured')
    const tenant = underTerms(owner, order.terms)
    const flow = await toScheduledFlow(tenant, create, order, deps)
    const outcome = await flows.create(flow)
    if (outcome.kind === 'conflict') throw new Error('a slot has the flow of another')
    if (outcome.kind !== 'full') return { kind: 'created', id: outcome.id }
    const { code, message } = flowsFull(flow)
    return { kind: 'refused', error: { code, message }, retryAfterMs: FULL_MS }
  }

  return {
    async launch(create, order) {
      try {
        return await launch(create, order)
      } catch (error) {
        if (!(error instanceof ApiError)) throw error
        const { code, message } = error
        return { kind: 'refused', error: { code, message }, retryAfterMs: null }
      }
    },
    async isOpen(tenant, id) {
      const flow = await flows.get(tenant, id)
      return flow !== null && !isOver(flow.status)
    },
    async cancel(tenant, id) {
      await flows.cancel(tenant, id)
    },
  }
}
