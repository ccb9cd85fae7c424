import type { JsonValue } from '../lib/json.ts'
import { stringifyJson } from '../lib/json-source.ts'
import { ContextTooLargeError } from './context.ts'
import { type FlowError, toFlowError } from './flow.ts'
import { EvaluationError, UnresolvedError } from './template.ts'

/** A step cannot go on, for a reason within the step. */
export class StepError extends Error {
  override readonly name = 'StepError'
  readonly code: string

  constructor(code: string, message: string) {
    super(message)
    this.code = code
  }
}

/** What is to be kept with the flow is too large. */
class ValueTooLargeError extends Error {
  override readonly name = 'ValueTooLargeError'
}

/** The value. Throws where its JSON has more bytes than may be kept. */
export function boundValue(value: JsonValue, mostBytes: number, place: string): JsonValue {
  if (Buffer.byteLength(stringifyJson(value)) <= mostBytes) return value
  throw new ValueTooLargeError(`${place}: comes to more than ${mostBytes} bytes (flows.max_value)`)
}

/** Why an evaluation came to nothing; null: it is no error of an evaluation. `step` null: of the flow's output. */
export function describeEvaluation(error: unknown, step: { name: string } | null): FlowError | null {
  if (error instanceof UnresolvedError) return toFlowError('unresolved_reference', error.message)
  if (error instanceof EvaluationError) return toFlowError('expression_failed', error.message)
  if (error instanceof ValueTooLargeError) return toFlowError('value_too_large', error.message)
  const where = step === null ? 'output' : `steps.${step.name}`
  if (error instanceof ContextTooLargeError) {
    return toFlowError(
      'value_too_large',
      `${where}: the results that its expressions read are too large together`,
    )
  }
  return error instanceof StepError ? toFlowError(error.code, `${where}.${error.message}`) : null
}

/** Turns what an evaluation throws into why the step failed. */
export async function tryTo<Value>(
  step: { name: string } | null,
  act: () => Promise<Value>,
): Promise<{ value: Value } | { error: FlowError }> {
  try {
    return { value: await act() }
  } catch (error) {
    const found = describeEvaluation(error, step)
    if (found === null) throw error
    return { error: found }
  }
}
