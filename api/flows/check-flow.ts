import { hash } from 'node:crypto'
import { termsOf } from '../../config/key-terms.ts'
import type { Tenant } from '../../config/tenants.ts'
import { type CompiledFlow, compileFlow, FlowFault } from '../../flows/compile.ts'
import { type FlowDefinition, flowWebhookEvents, type NewFlow } from '../../flows/flow.ts'
import { createBreather } from '../../lib/breathe.ts'
import { canonicalizeText } from '../../lib/canonical-json.ts'
import type { JsonObject } from '../../lib/json.ts'
import { sourceOf } from '../../lib/json-source.ts'
import { ApiError } from '../errors.ts'
import { checkStepJob, createCheckWork, type FlowCheckDeps } from './check-job.ts'
import type { CreateFlow } from './schema.ts'

/** Most expressions of a flow: each takes some microseconds to parse, whenever the flow is read. */
const MAX_EXPRESSIONS = 20_000

/**
 * Checks everything that can be known about a flow before it runs, and each of its jobs like `POST /v1/jobs`. Placeholders stand for values
 * that are not known yet. Throws `invalid_request`, `payload_too_large` or `deadline_unreachable`, naming the path.
 *
 * @param place the flow's path in the request: `flow`; absent: the request is the flow
 */
export async function checkFlow(
  tenant: Tenant,
  create: CreateFlow,
  deps: FlowCheckDeps,
  { idempotencyKey = null, place = '' }: { idempotencyKey?: string | null; place?: string } = {},
): Promise<NewFlow> {
  const bounds = deps.config().flows
  const refuse = (inside: string, message: string): never => {
    const whole = place === '' ? inside : `${place}.${inside}`
    throw new ApiError('invalid_request', `${whole}: ${message}`, { param: whole })
  }
  const text = sourceOf(create as unknown as JsonObject)
  if (Buffer.byteLength(text) > bounds.max_size) {
    throw new ApiError(
      'payload_too_large',
      `a flow may have at most ${bounds.max_size} bytes (flows.max_size)`,
    )
  }
  const count = Object.keys(create.steps).length
  if (count === 0) refuse('steps', 'expected at least one step')
  if (count > bounds.max_steps)
    refuse('steps', `has ${count} steps, and ${bounds.max_steps} are allowed (flows.max_steps)`)
  const definition = create as FlowDefinition
  for (const name of Object.keys(create.steps)) checkShape(definition, name, refuse)

  let compiled: CompiledFlow
  try {
    compiled = compileFlow(definition)
    await checkJobs(tenant, compiled, deps)
  } catch (error) {
    if (error instanceof FlowFault) return refuse(error.place, error.message)
    throw error
  }
  const { webhook } = create
  if (webhook) {
    const checked = deps.submission.checkWebhookUrl(webhook.url)
    if (!checked.ok) refuse('webhook.url', checked.reason)
  }
  const deadline = create.deadline ? Date.parse(create.deadline) : null
  if (deadline !== null && deadline <= deps.now()) {
    throw new ApiError('deadline_unreachable', 'deadline: is in the past', { param: 'deadline' })
  }
  return {
    tenant: tenant.name,
    definition,
    budgetUsd: create.budget_usd ?? null,
    budgets: create.budgets ?? [],
    deadline,
    webhook: webhook ? { url: webhook.url, events: [...new Set(webhook.events ?? flowWebhookEvents)] } : null,
    group: create.group ?? null,
    metadata: create.metadata ?? {},
    idempotencyKey,
    fingerprint: hash(
      'sha256',
      canonicalizeText(text, () => false),
    ),
    mostOpen: bounds.max_open,
    ...termsOf(tenant),
  }
}

/** Checks which members a step may combine. */
function checkShape(
  { steps }: FlowDefinition,
  name: string,
  refuse: (place: string, message: string) => never,
): void {
  const step = steps[name]!
  const place = `steps.${name}`
  const hasJob = step.job != null
  const hasSignal = step.wait_for_signal != null
  if (hasJob === hasSignal)
    refuse(
      place,
      hasJob ? 'has job and wait_for_signal; give one of them' : 'expected job or wait_for_signal',
    )
  if (step.for_each !== undefined && !hasJob) refuse(`${place}.for_each`, 'is for a step with a job')
  for (const member of ['max_in_flight', 'allow_failures'] as const) {
    if (step[member] != null && step.for_each === undefined)
      refuse(`${place}.${member}`, 'is for a step with for_each')
  }
}

async function checkJobs(tenant: Tenant, flow: CompiledFlow, deps: FlowCheckDeps): Promise<void> {
  const breathe = createBreather()
  const work = createCheckWork()
  let expressions = flow.output?.expressions.length ?? 0
  for (const step of flow.steps) {
    for (const template of [step.when, step.forEach, step.job, step.fallback]) {
      expressions += template?.expressions.length ?? 0
    }
    if (expressions > MAX_EXPRESSIONS)
      throw new FlowFault('steps', `have more than ${MAX_EXPRESSIONS} expressions`)
    checkStepJob(tenant, flow, step, deps, work)
    await breathe()
  }
}
