import type { JsonValue } from '../lib/json.ts'
import { stringifyJson } from '../lib/json-source.ts'
import { ContextTooLargeError } from './context.ts'
import { type FlowError, toFlowError } from './flow.ts'
import { EvaluationError, UnresolvedError } from './template.ts'

/** A step fails for a reason in its own definition or data. */
export class StepError extends Error {
  override readonly name = 'StepError'
  readonly code: string

  constructor(code: string, message: string) {
    super(message)
    this.code = code
  }
}

/** A value that is stored with the flow is too large. */
class ValueTooLargeError extends Error {
  override readonly name = 'ValueTooLargeError'
}

/** Returns the value. Throws `ValueTooLargeError` if its JSON exceeds `mostBytes`. */
export function boundValue(value: JsonValue, mostBytes: number, place: string): JsonValue {
  if (Buffer.byteLength(stringifyJson(value)) <= mostBytes) return value
  throw new ValueTooLargeError(`${place}: is larger than ${mostBytes} bytes (flows.max_value)`)
}

/** Describes why an evaluation failed; null: `error` is of another kind. `step` null: the flow's output was evaluated. */
export function describeEvaluation(error: unknown, step: { name: string } | null): FlowError | null {
  if (error instanceof UnresolvedError) return toFlowError('unresolved_reference', error.message)
  if (error instanceof EvaluationError) return toFlowError('expression_failed', error.message)
  if (error instanceof ValueTooLargeError) return toFlowError('value_too_large', error.message)
  const where = step === null ? 'output' : `steps.${step.name}`
  if (error instanceof ContextTooLargeError) {
    return toFlowError(
      'value_too_large',
      `${where}: the results that its expressions read are too large in total`,
    )
  }
  return error instanceof StepError ? toFlowError(error.code, `${where}.${error.message}`) : null
}

/** Runs an evaluation and turns its errors into a `FlowError`. Rethrows all other errors. */
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
