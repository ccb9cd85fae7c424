import { parseDuration } from '../config/units.ts'
import { isJsonObject } from '../lib/json.ts'
import type { FlowDefinition, StepDefinition } from './flow.ts'
import { type Expression, parseTemplate, type Template, TemplateError } from './template.ts'

/** A step with parsed expressions and its dependencies. */
export type CompiledStep = {
  name: string
  /** Its index among the steps, from 0. */
  number: number
  definition: StepDefinition
  /** The numbers of the steps that must end first: those in `needs`, and those that its expressions read. */
  needs: number[]
  needsAny: boolean
  when: Template | null
  forEach: Template | null
  job: Template | null
  /** The value that replaces the result if the step fails; null: none. */
  fallback: Template | null
  allowFailures: number
  /** The most open jobs of the step; null: the service's default. */
  maxInFlight: number | null
  /** How long the step waits for its signal, ms; null: the step runs jobs. */
  signalTimeoutMs: number | null
}

/** A flow whose expressions are parsed and whose steps are sorted. */
export type CompiledFlow = {
  definition: FlowDefinition
  steps: CompiledStep[]
  numbers: ReadonlyMap<string, number>
  /** The numbers of the steps in topological order: each after those that it needs. */
  order: number[]
  output: Template | null
}

/** A fault in a flow's definition. `place` names where, such as `steps.edit.needs[0]`. */
export class FlowFault extends Error {
  override readonly name = 'FlowFault'
  readonly place: string

  constructor(place: string, message: string) {
    super(message)
    this.place = place
  }
}

/** Parses the expressions of a flow and finds its edges. Throws `FlowFault`. */
export function compileFlow(definition: FlowDefinition): CompiledFlow {
  const names = Object.keys(definition.steps)
  const numbers = new Map(names.map((name, number) => [name, number]))
  try {
    const steps = names.map((name) => compileStep(definition, name, numbers))
    const output = definition.output == null ? null : parseTemplate(definition.output, 'output')
    for (const expression of output?.expressions ?? []) {
      checkNames(definition, numbers, expression, false)
    }
    return { definition, steps, numbers, order: sortSteps(steps), output }
  } catch (error) {
    if (error instanceof TemplateError) throw new FlowFault(error.place, error.message)
    throw error
  }
}

function compileStep(flow: FlowDefinition, name: string, numbers: ReadonlyMap<string, number>): CompiledStep {
  const definition = flow.steps[name]!
  const place = `steps.${name}`
  const parse = (value: unknown, member: string) =>
    value == null ? null : parseTemplate(value as never, `${place}.${member}`)
  const when = parse(definition.when, 'when')
  const forEach = parse(definition.for_each, 'for_each')
  const job = parse(definition.job, 'job')
  const given = definition.on_failure
  const fallback =
    typeof given === 'object' && given !== null
      ? parseTemplate(given.value, `${place}.on_failure.value`)
      : null

  const needs = new Set<number>()
  for (const [index, need] of (definition.needs ?? []).entries()) {
    const number = numbers.get(need)
    if (number === undefined) throw new FlowFault(`${place}.needs[${index}]`, unknownStep(need, numbers))
    needs.add(number)
  }
  for (const template of [when, forEach, job, fallback]) {
    for (const expression of template?.expressions ?? []) {
      const hasItem = template === job && forEach !== null
      for (const step of checkNames(flow, numbers, expression, hasItem)) needs.add(step)
    }
  }
  const number = numbers.get(name)!
  if (needs.has(number)) throw new FlowFault(place, 'needs itself')
  return {
    name,
    number,
    definition,
    needs: [...needs],
    needsAny: definition.needs_any === true,
    when,
    forEach,
    job,
    fallback,
    allowFailures: definition.allow_failures ?? 0,
    maxInFlight: definition.max_in_flight ?? null,
    signalTimeoutMs: readTimeout(definition),
  }
}

/** How long a step waits for its signal by default, ms. */
const SIGNAL_TIMEOUT_MS = 7 * 24 * 60 * 60 * 1000

function readTimeout({ wait_for_signal: wait }: StepDefinition): number | null {
  if (wait == null) return null
  return wait.timeout == null ? SIGNAL_TIMEOUT_MS : (parseDuration(wait.timeout) ?? SIGNAL_TIMEOUT_MS)
}

/** Checks the names in an expression. Returns the numbers of the steps that it reads. Throws `FlowFault`. */
function checkNames(
  flow: FlowDefinition,
  numbers: ReadonlyMap<string, number>,
  { references, place, text }: Expression,
  hasItem: boolean,
): number[] {
  const about = `\${{ ${text.slice(0, 200)} }}`
  if (references.usesItem && !hasItem) {
    throw new FlowFault(
      place,
      `${about}: item and index are only available in the job of a step with for_each`,
    )
  }
  for (const member of references.input) {
    const { input } = flow
    const isThere = isJsonObject(input) && Object.hasOwn(input, member)
    if (!isThere) throw new FlowFault(place, `${about}: the input has no member ${JSON.stringify(member)}`)
  }
  return [...references.steps].map(([step, members]) => {
    const number = numbers.get(step)
    if (number === undefined) throw new FlowFault(place, `${about}: ${unknownStep(step, numbers)}`)
    const isSignal = flow.steps[step]!.wait_for_signal != null
    if (members.has('signal') && !isSignal) {
      throw new FlowFault(place, `${about}: steps.${step} does not wait for a signal`)
    }
    return number
  })
}

function unknownStep(name: string, numbers: ReadonlyMap<string, number>): string {
  const known = [...numbers.keys()].slice(0, 10).join(', ')
  return `there is no step ${JSON.stringify(name.slice(0, 64))}; there are ${known}${numbers.size > 10 ? ', …' : ''}`
}

/** Sorts the steps by Kahn's algorithm. A step that never becomes free is in a cycle, or waits for one. Throws `FlowFault`. */
function sortSteps(steps: readonly CompiledStep[]): number[] {
  const waits = steps.map(({ needs }) => needs.length)
  const dependents: number[][] = steps.map(() => [])
  for (const { number, needs } of steps) for (const need of needs) dependents[need]!.push(number)
  const order = steps.filter(({ needs }) => needs.length === 0).map(({ number }) => number)
  for (const number of order) {
    for (const next of dependents[number]!) if (--waits[next]! === 0) order.push(next)
  }
  if (order.length === steps.length) return order
  const cycle = findCycle(steps, waits)
  const names = [...cycle, cycle[0]!].map((number) => steps[number]!.name)
  throw new FlowFault(`steps.${names[0]}`, `the steps need one another in a cycle: ${names.join(' → ')}`)
}

/** Finds a cycle. Every remaining step waits for another remaining step, so a walk along these returns to a step on its path. */
function findCycle(steps: readonly CompiledStep[], waits: readonly number[]): number[] {
  const way: number[] = []
  let at = waits.findIndex((count) => count > 0)
  while (!way.includes(at)) {
    way.push(at)
    at = steps[at]!.needs.find((need) => waits[need]! > 0)!
  }
  return way.slice(way.indexOf(at))
}
