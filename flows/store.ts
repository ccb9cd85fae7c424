import { writeTerms } from '../config/key-terms.ts'
import type { AtRest } from '../jobs/at-rest.ts'
import type { Delivery } from '../jobs/job.ts'
import type { Jobs } from '../jobs/jobs.ts'
import { tenantRoot } from '../jobs/keys.ts'
import type { PubSub } from '../jobs/pubsub.ts'
import type { JsonObject, JsonValue } from '../lib/json.ts'
import type { RedisClient } from '../lib/redis.ts'
import type { CompiledFlow } from './compile.ts'
import type { FlowDefinition, NewFlow } from './flow.ts'
import { type FlowFollowing, followFlow } from './follow.ts'
import { flowKey, sealedPlaces } from './keys.ts'
import { type FlowFilter, type FlowPage, listFlows } from './list.ts'
import { createFlowReader } from './record.ts'
import type { FlowScripts } from './scripts.ts'
import { createFlowView, type FlowStepJobs, type FlowView } from './view.ts'

/** How long an idempotency key is remembered by default, ms. */
const IDEMPOTENCY_TTL_MS = 24 * 60 * 60 * 1000

/**
 * What the API does with flows. A flow of another tenant is treated like one that does not exist. After each change a worker looks at
 * the flow at once; runner.ts does the work.
 */
export type Flows = {
  create(
    flow: NewFlow,
  ): Promise<{ kind: 'created' | 'replayed'; id: string } | { kind: 'conflict' } | { kind: 'full' }>
  get(tenant: string, id: string): Promise<FlowView | null>
  /** The same, by the root of the tenant's keys. */
  getByRoot(root: string, id: string): Promise<FlowView | null>
  /** Returns a page of a step's jobs in the order of its elements; null: there is no such flow or step. */
  stepJobs(
    tenant: string,
    id: string,
    step: string,
    page: { from: number; limit: number },
  ): Promise<FlowStepJobs | null>
  /** Returns the flow's definition; null: there is no such flow. */
  definition(tenant: string, id: string): Promise<FlowDefinition | null>
  /** Lists flows, newest first, without their steps. */
  list(tenant: string, filter: FlowFilter, limit: number, after?: string): Promise<FlowPage>
  cancel(tenant: string, id: string): Promise<'none' | 'over' | 'ok'>
  retry(tenant: string, id: string): Promise<'none' | 'not_retryable' | 'ok'>
  /** `unknown_step`: the flow has no such step. `no_signal`: the step waits for no signal. `again`: the step has its signal, or waits no more. */
  signal(
    tenant: string,
    id: string,
    step: string,
    value: JsonValue,
  ): Promise<'none' | 'unknown_step' | 'no_signal' | 'over' | 'again' | 'ok'>
  /** Removes the flow and its jobs. False: there was no such flow. */
  remove(tenant: string, id: string): Promise<boolean>
  /** See `followFlow`. */
  follow(tenant: string, id: string, cursor: string, signal: AbortSignal): Promise<FlowFollowing | null>
  /** Returns the flow's webhook deliveries, newest first; null: there is no such flow. */
  deliveries(tenant: string, id: string): Promise<Delivery[] | null>
}

export type FlowStoreDeps = {
  redis: RedisClient
  scripts: FlowScripts
  prefix: string
  atRest: AtRest
}

/** Creates the API's side of flows. `retainMs`: how long a flow is kept after its end, ms. */
export function createFlows(
  deps: FlowStoreDeps & {
    jobs: Pick<Jobs, 'outcomes' | 'statuses' | 'getMany'>
    pubsub: PubSub
    /** Reads the deliveries of a flow, newest first, from the webhooks' store. */
    deliveries: (tenant: string, id: string) => Promise<Delivery[]>
    newId: () => string
    retainMs: () => number
  },
): Flows {
  const { redis, scripts, prefix, atRest, jobs, pubsub, newId, retainMs } = deps
  const rootOf = (tenant: string) => tenantRoot(prefix, tenant)
  const reader = createFlowReader({ redis, atRest })
  const view = createFlowView({ redis, atRest, jobs })

  async function get(tenant: string, id: string): Promise<FlowView | null> {
    const root = rootOf(tenant)
    const flow = await reader.load(root, id)
    return flow && view.show(tenant, root, flow)
  }

  async function findStep(
    tenant: string,
    id: string,
    step: string,
  ): Promise<CompiledFlow['steps'][number] | null | 'none'> {
    const flow = await reader.load(rootOf(tenant), id)
    if (flow === null) return 'none'
    const number = flow.compiled.numbers.get(step)
    return number === undefined ? null : flow.compiled.steps[number]!
  }

  return {
    async create(flow) {
      const { tenant, definition, webhook } = flow
      const root = rootOf(tenant)
      const id = newId()
      const fields: Record<string, string | Buffer> = {
        name: definition.name,
        definition: atRest.sealBody(root, id, definition as unknown as JsonObject),
        step_count: String(Object.keys(definition.steps).length),
      }
      if (flow.budgetUsd !== null) fields.budget_nano = String(Math.round(flow.budgetUsd * 1e9))
      if (flow.budgets.length > 0) fields.budgets = JSON.stringify(flow.budgets)
      if (flow.deadline !== null) fields.deadline = String(flow.deadline)
      if (webhook !== null) fields.webhook = JSON.stringify(webhook)
      if (flow.group !== null) fields.group = flow.group
      if (Object.keys(flow.metadata).length > 0) fields.metadata = JSON.stringify(flow.metadata)
      if (flow.requestId !== undefined) fields.request_id = flow.requestId
      if (flow.trace !== undefined) fields.trace = flow.trace
      for (const [name, text] of Object.entries(writeTerms(flow))) if (text !== '') fields[name] = text
      const [kind, made] = (await scripts('create', root, [
        id,
        flow.idempotencyKey ?? '',
        atRest.digests(flow.fingerprint).join(' '),
        flow.idempotencyTtlMs ?? IDEMPOTENCY_TTL_MS,
        flow.mostOpen,
        ...Object.entries(fields).flat(),
      ])) as [string, string?]
      if (kind === 'conflict' || kind === 'full') return { kind }
      return { kind: kind as 'created' | 'replayed', id: made! }
    },

    get,
    getByRoot: (root, id) => get(root.slice(rootOf('').length - 1, -1), id),

    async definition(tenant, id) {
      const flow = await reader.load(rootOf(tenant), id)
      return flow?.compiled.definition ?? null
    },

    async stepJobs(tenant, id, step, page) {
      const flow = await reader.load(rootOf(tenant), id)
      const number = flow?.compiled.numbers.get(step)
      return flow && number !== undefined ? view.showStepJobs(tenant, flow, number, page) : null
    },

    list: (tenant, filter, limit, after) =>
      listFlows({ redis, atRest }, rootOf(tenant), filter, limit, after),

    async cancel(tenant, id) {
      return (await scripts('cancel', rootOf(tenant), [id, retainMs()])) as 'none' | 'over' | 'ok'
    },

    async retry(tenant, id) {
      return (await scripts('retry', rootOf(tenant), [id])) as 'none' | 'not_retryable' | 'ok'
    },

    async signal(tenant, id, step, value) {
      const found = await findStep(tenant, id, step)
      if (found === 'none') return 'none'
      if (found === null) return 'unknown_step'
      if (found.signalTimeoutMs === null) return 'no_signal'
      const root = rootOf(tenant)
      const place = sealedPlaces.value(found.number)
      const sealed = atRest.sealResult(root, id, place, { value })
      return (await scripts('signal', root, [id, found.number, sealed])) as 'none' | 'over' | 'again' | 'ok'
    },

    async remove(tenant, id) {
      return (await scripts('remove', rootOf(tenant), [id])) === 'ok'
    },

    follow(tenant, id, cursor, signal) {
      const read = () => get(tenant, id)
      return followFlow({ redis, pubsub, atRest, read }, rootOf(tenant), id, cursor, signal)
    },

    async deliveries(tenant, id) {
      const [status, deleted] = await redis.hmget(flowKey(rootOf(tenant), id), 'status', 'deleted')
      return status && !deleted ? deps.deliveries(tenant, id) : null
    },
  }
}
