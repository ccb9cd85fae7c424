import jmespath from '@jmespath-community/jmespath'
import type { JsonValue } from '../lib/json.ts'

/** A parsed expression of the JMESPath library. */
export type ExpressionNode = ReturnType<typeof jmespath.compile>

/** Bounds of evaluations. `work`: values visited or made. `size`: the size of a result in values; 16 characters count as one value. */
export type ExpressionBounds = { work: number; size: number }

export const defaultExpressionBounds: ExpressionBounds = { work: 4_000_000, size: 2_000_000 }

/**
 * What is left of the bounds. All expressions of one template share it, because a small flow can name or walk one large value thousands
 * of times. `size`: the most that one value may have. `room`: what all further values together may have.
 */
export type ExpressionBudget = { work: number; size: number; room: number; sizes: WeakMap<object, number> }

/** Creates a full budget. Use one for all expressions of a template. */
export function createBudget({ work, size }: ExpressionBounds = defaultExpressionBounds): ExpressionBudget {
  return { work, size, room: size, sizes: new WeakMap() }
}

/** The longest expression, in characters. */
const MOST_TEXT = 4096

/** Says why an expression cannot be parsed or evaluated. The message never quotes values. */
export class ExpressionError extends Error {
  override readonly name = 'ExpressionError'
}

type Interpreter = typeof jmespath.TreeInterpreter
type Value = Parameters<Interpreter['visit']>[1]

/** Nodes that return existing values and make none, so their results cost no work. */
const PASSING = new Set([
  ...['Field', 'Index', 'Identity', 'Current', 'Root', 'Literal', 'Variable', 'Subexpression', 'Pipe'],
  ...['IndexExpression', 'OrExpression', 'AndExpression', 'Ternary', 'ExpressionReference', 'LetExpression'],
])

/** Functions that walk or combine the whole content of their arguments. Other functions look only at direct elements. */
const DEEP = new Set(['to_string', 'contains', 'join', 'sort'])

const CHARACTERS_PER_VALUE = 16

/**
 * The library's interpreter with bounds. It counts sizes before a function or a comparison walks its values, because a small expression
 * can name one value a million times.
 */
class BoundedInterpreter extends (jmespath.TreeInterpreter.constructor as new () => Interpreter) {
  budget = createBudget({ work: 0, size: 0 })

  override withScope(scope: Parameters<Interpreter['withScope']>[0]): Interpreter {
    this.charge(100)
    // The library returns an interpreter of its own class. This copies its state to a bounded one, and makes its functions use that one.
    const bounded = Object.assign(new BoundedInterpreter(), super.withScope(scope), { budget: this.budget })
    bounded.runtime._interpreter = bounded
    return bounded
  }

  override visit(node: ExpressionNode, value: Value): ReturnType<Interpreter['visit']> {
    this.charge(1)
    // Reads only own properties: `constructor` is not a member of the JSON value.
    if (node.type === 'Field') {
      const isOwn = isPlainObject(value) && Object.hasOwn(value, node.name)
      return isOwn ? ((value as Record<string, Value>)[node.name] ?? null) : null
    }
    if (node.type === 'Comparator') return this.compareBounded(node, value)
    if (node.type === 'Function') return this.callBounded(node, value)
    const result = super.visit(node, value)
    if (!PASSING.has(node.type)) this.charge(lengthOf(result))
    return result
  }

  private callBounded(node: Extract<ExpressionNode, { type: 'Function' }>, value: Value) {
    const args = node.children.map((child) => this.visit(child, value)) as JsonValue[]
    for (const arg of args) this.charge(DEEP.has(node.name) ? this.sizeOf(arg) : lengthOf(arg))
    this.charge(predictSize(node.name, args, this.budget.size))
    const result = this.runtime.callFunction(node.name, args as never)
    this.charge(lengthOf(result))
    return result
  }

  private compareBounded(node: Extract<ExpressionNode, { type: 'Comparator' }>, value: Value) {
    const toLiteral = (side: ExpressionNode): ExpressionNode => {
      const found = this.visit(side, value) as never
      this.charge(this.sizeOf(found))
      return { type: 'Literal', value: found }
    }
    return super.visit({ ...node, left: toLiteral(node.left), right: toLiteral(node.right) }, null)
  }

  private charge(work: number): void {
    this.budget.work -= work
    if (this.budget.work < 0)
      throw new ExpressionError(
        'takes more work than allowed for an expression, or for all expressions of the template',
      )
  }

  /** The size of a value with all its content; repeated content counts again. Throws `ExpressionError` above the bound. */
  sizeOf(value: unknown): number {
    if (typeof value !== 'object' || value === null) return lengthOf(value)
    const known = this.budget.sizes.get(value)
    if (known !== undefined) return known
    let size = 1
    for (const member of Object.values(value)) size += this.sizeOf(member)
    if (size > this.budget.size) throw new ExpressionError('makes a larger value than an expression may')
    this.budget.sizes.set(value, size)
    return size
  }
}

/** The size of a value without the content of its elements. */
function lengthOf(value: unknown): number {
  if (typeof value === 'string') return 1 + value.length / CHARACTERS_PER_VALUE
  return Array.isArray(value) ? 1 + value.length : 1
}

/** Predicts the size of the result, in the units of `sizeOf`, for functions that turn short text into long text. */
function predictSize(name: string, args: JsonValue[], most: number): number {
  const [first, second, third] = args
  const charactersOf = (value: JsonValue | undefined) => (typeof value === 'string' ? value.length : 0)
  let length = 0
  if (name === 'pad_left' || name === 'pad_right') length = typeof second === 'number' ? second : 0
  if (name === 'replace') length = (charactersOf(first) + 1) * Math.max(1, charactersOf(third))
  if (name === 'join' && Array.isArray(second)) length = charactersOf(first) * second.length
  const size = length / CHARACTERS_PER_VALUE
  if (size > most) throw new ExpressionError('makes a larger value than an expression may')
  return size
}

function isPlainObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

const interpreter = new BoundedInterpreter()
interpreter.runtime.registerFunction('json', ([text]) => parseJsonText(text as string) as never, [
  { types: [jmespath.TYPE_STRING] },
])

/** The names of all functions that an expression may call. */
export const functionNames: readonly string[] = interpreter.runtime.getRegistered()

/** A code fence, which models often put around JSON. */
const FENCED = /^\s*```[A-Za-z]*\s*\n([\s\S]*?)\n?\s*```\s*$/

function parseJsonText(text: string): JsonValue {
  try {
    return JSON.parse(FENCED.exec(text)?.[1] ?? text) as JsonValue
  } catch {
    throw new ExpressionError('json(): the text is not JSON')
  }
}

/** Parses an expression. Throws `ExpressionError`. */
export function parseExpression(text: string): ExpressionNode {
  if (text.length > MOST_TEXT) throw new ExpressionError(`is longer than ${MOST_TEXT} characters`)
  if (text.trim() === '') throw new ExpressionError('is empty')
  try {
    return jmespath.compile(text)
  } catch (error) {
    const reason = error instanceof RangeError ? 'is nested too deeply' : readReason(error)
    throw new ExpressionError(`is not valid JMESPath: ${reason}`)
  }
}

/** The library's message. It quotes at most a token of the expression. */
function readReason(error: unknown): string {
  const message = error instanceof Error ? error.message : ''
  return message.replace(/^Syntax error:?,? ?/, '').slice(0, 200) || 'it cannot be read'
}

/**
 * Evaluates an expression; null: there is no value. Throws `ExpressionError` if a function gets an argument that it does not accept, or
 * the evaluation exceeds a bound.
 */
export function evaluate(
  node: ExpressionNode,
  context: { [name: string]: JsonValue | undefined },
  budget: ExpressionBudget = createBudget(),
): JsonValue {
  interpreter.budget = budget
  try {
    const value = (interpreter.search(node, context as never) ?? null) as JsonValue
    budget.room -= interpreter.sizeOf(value)
    checkNumbers(value)
    if (budget.room < 0)
      throw new ExpressionError(
        'makes a larger value than allowed, together with the other expressions of the template',
      )
    return value
  } catch (error) {
    if (error instanceof ExpressionError) throw error
    if (error instanceof RangeError)
      throw new ExpressionError('is nested too deeply, or its value is too large')
    throw new ExpressionError(describeFailure(error))
  }
}

/**
 * Refuses numbers that a double does not hold exactly. For example 12345678901234567890 would go into a prompt as another number, and
 * 1e400 as `null`. Throws `ExpressionError`.
 */
function checkNumbers(value: JsonValue): void {
  if (typeof value === 'number') {
    if (!Number.isFinite(value) || (Number.isInteger(value) && !Number.isSafeInteger(value)))
      throw new ExpressionError('has a number that is too large to be held exactly; send it as text')
  } else if (typeof value === 'object' && value !== null) {
    for (const member of Object.values(value)) checkNumbers(member!)
  }
}

/** The library's type errors name only types. Its other errors may quote a value, so they are replaced. */
function describeFailure(error: unknown): string {
  const message = error instanceof Error ? error.message : ''
  const isSafe =
    /^(TypeError|Invalid type|Invalid arity|Unknown function|Error referencing|Invalid value)/.test(message)
  return isSafe
    ? message.slice(0, 300)
    : 'cannot be evaluated: a function got a value that it does not accept'
}
