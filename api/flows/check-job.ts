import type { Config } from '../../config/schema.ts'
import type { Tenant } from '../../config/tenants.ts'
import { type CompiledFlow, type CompiledStep, FlowFault } from '../../flows/compile.ts'
import { createBudget, defaultExpressionBounds, type ExpressionBudget } from '../../flows/expression.ts'
import {
  createResolver,
  EvaluationError,
  type Expression,
  type Template,
  UnresolvedError,
} from '../../flows/template.ts'
import type { JsonValue } from '../../lib/json.ts'
import { ApiError } from '../errors.ts'
import { parseRequest } from '../issues.ts'
import { createJobSchema } from '../jobs/create-schema.ts'
import { type SubmitDeps, toNewJob } from '../jobs/submit.ts'

export type FlowCheckDeps = SubmitDeps & { config: () => Config }

/** Placeholders for values that are not known yet, the likeliest first. */
const STAND_INS: JsonValue[] = ['x', 1, true, {}, [], [{ role: 'user', content: 'x' }]]

/** What the check of a whole flow may evaluate, in times of what one evaluation may. */
const CHECK_TIMES = 4
const OUT_OF_WORK = `takes, with the steps before it, more work than the check of a flow may (${CHECK_TIMES} times that of one expression)`

/** What all evaluations of a flow's check may use together, and what is left of it. */
export function createCheckWork(): { left: number } {
  return { left: CHECK_TIMES * defaultExpressionBounds.work }
}

/** An expression whose value is not known before the flow runs. */
type Unknown = { expression: Expression; standIn: number }

/**
 * Checks what a step evaluates: its job, with known values and with placeholders for the others. Throws `FlowFault` for an error that no
 * value could fix.
 *
 * @param work what all evaluations of the flow may use together, and what is left of it
 */
export function checkStepJob(
  tenant: Tenant,
  flow: CompiledFlow,
  step: CompiledStep,
  deps: FlowCheckDeps,
  work: { left: number },
): void {
  const known = { input: flow.definition.input ?? {} }
  if (step.when !== null) checkKnown(step.when, known, work, { mayBeNull: true })
  if (step.fallback !== null) checkKnown(step.fallback, known, work, {})
  const items = step.forEach === null ? null : readItems(step, step.forEach, known, deps, work)
  if (items?.length === 0 || step.job === null) return
  const context = items === null ? known : { ...known, item: items[0]!, index: 0 }
  const hasItem = items !== null
  const values = checkKnown(step.job, context, work, { hasItem })
  checkJob(tenant, step, deps, values, hasItem, work)
}

/** What one template may do, of what is left for the whole flow. Throws `FlowFault` at `place` where the flow has nothing left. */
function within<T>(work: { left: number }, place: () => string, act: (budget: ExpressionBudget) => T): T {
  const { work: most } = defaultExpressionBounds
  const budget = createBudget({ ...defaultExpressionBounds, work: Math.min(most, work.left) })
  const given = budget.work
  try {
    return act(budget)
  } catch (error) {
    if (given === most || budget.work >= 0) throw error
    throw new FlowFault(place(), OUT_OF_WORK)
  } finally {
    work.left -= given - budget.work
  }
}

function isKnown({ references }: Expression, hasItem: boolean): boolean {
  return references.steps.size === 0 && (hasItem || !references.usesItem)
}

/** Evaluates what can be evaluated now, each once. Throws `FlowFault` where that fails. */
function checkKnown(
  { expressions }: Template,
  context: { [name: string]: JsonValue },
  work: { left: number },
  { mayBeNull = false, hasItem = false }: { mayBeNull?: boolean; hasItem?: boolean },
): Map<Expression, JsonValue> {
  const values = new Map<Expression, JsonValue>()
  let place = ''
  within(
    work,
    () => place,
    (budget) => {
      const resolve = createResolver(context, budget)
      for (const expression of expressions) {
        if (!isKnown(expression, hasItem)) continue
        place = expression.place
        try {
          values.set(expression, resolve(expression, { mayBeNull: mayBeNull && expression.isWhole }))
        } catch (error) {
          if (!(error instanceof UnresolvedError || error instanceof EvaluationError)) throw error
          throw new FlowFault(expression.place, error.message.slice(expression.place.length + 2))
        }
      }
    },
  )
  return values
}

/** The elements of a `for_each` that does not depend on other steps; null: not known yet. */
function readItems(
  step: CompiledStep,
  forEach: Template,
  known: { [name: string]: JsonValue },
  deps: FlowCheckDeps,
  work: { left: number },
): JsonValue[] | null {
  const values = checkKnown(forEach, known, work, {})
  if (!forEach.expressions.every((expression) => isKnown(expression, false))) return null
  const value = forEach.fill?.((expression) => values.get(expression)!) ?? forEach.value
  const most = deps.config().flows.max_elements
  const fault = (message: string) => new FlowFault(`steps.${step.name}.for_each`, message)
  if (!Array.isArray(value)) throw fault('expected a list, or an expression that comes to one')
  if (value.length > most)
    throw fault(`has ${value.length} elements, and ${most} are allowed (flows.max_elements)`)
  return value
}

function checkJob(
  tenant: Tenant,
  step: CompiledStep,
  deps: FlowCheckDeps,
  values: ReadonlyMap<Expression, JsonValue>,
  hasItem: boolean,
  work: { left: number },
): void {
  const place = `steps.${step.name}.job`
  const template = step.job!
  const unknown: Unknown[] = template.expressions
    .filter((expression) => expression.isWhole && !isKnown(expression, hasItem))
    .map((expression) => ({ expression, standIn: 0 }))
  const standInOf = new Map(unknown.map((one) => [one.expression, one]))
  const isModelKnown = !template.expressions.some(
    (one) => one.place === `${place}.body.model` && !isKnown(one, hasItem),
  )
  const fill = (expression: Expression) =>
    isKnown(expression, hasItem)
      ? values.get(expression)!
      : STAND_INS[standInOf.get(expression)?.standIn ?? 0]!
  // Each iteration tries another placeholder at one path.
  for (;;) {
    try {
      // A turn looks at all of them.
      work.left -= template.expressions.length
      if (work.left < 0) throw new FlowFault(place, OUT_OF_WORK)
      const create = template.fill?.(fill) ?? template.value
      const job = parseRequest(createJobSchema, create, place, place)
      if (isModelKnown) toNewJob(tenant, job, null, deps)
      return
    } catch (error) {
      if (!(error instanceof ApiError)) throw error
      const fault = toFault(error, place)
      const suspect = unknown.find(({ expression }) => isSamePlace(expression.place, fault.place))
      if (suspect === undefined) throw fault
      suspect.standIn++
      // No placeholder passes the check: the real value is checked when it is known.
      if (suspect.standIn >= STAND_INS.length) return
    }
  }
}

/** A job's errors name paths within the job. */
function toFault(error: ApiError, place: string): FlowFault {
  const param = error.param ?? ''
  if (param.startsWith(place)) return new FlowFault(param, error.message.replace(`${param}: `, ''))
  const at = param === '' ? place : `${place}.${param}`
  return new FlowFault(
    at,
    error.message.startsWith(`${param}: `) ? error.message.slice(param.length + 2) : error.message,
  )
}

/** Whether one path is within the other. */
function isSamePlace(one: string, other: string): boolean {
  const within = (inner: string, outer: string) =>
    inner === outer || (inner.startsWith(outer) && /^[.[]/.test(inner.slice(outer.length)))
  return within(one, other) || within(other, one)
}
