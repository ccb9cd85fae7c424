import jmespath from '@jmespath-community/jmespath'
import type { JsonValue } from '../lib/json.ts'

/** A parsed expression, as the library has it. */
export type ExpressionNode = ReturnType<typeof jmespath.compile>

/** What evaluations may do: values looked at or made, and the size of what they come to; 16 characters count as one value. */
export type ExpressionBounds = { work: number; size: number }

export const defaultExpressionBounds: ExpressionBounds = { work: 4_000_000, size: 2_000_000 }

/**
 * What is left of the bounds. All expressions of one template share it: a small flow can name one large value, or walk over it, thousands of
 * times. `size` is the most that one value may have, `room` what the values may have together.
 */
export type ExpressionBudget = { work: number; size: number; room: number; sizes: WeakMap<object, number> }

export function createBudget({ work, size }: ExpressionBounds = defaultExpressionBounds): ExpressionBudget {
  return { work, size, room: size, sizes: new WeakMap() }
}

/** Longest expression, in characters. */
const MOST_TEXT = 4096

/** Why an expression has no value. The message repeats nothing of the values. */
export class ExpressionError extends Error {
  override readonly name = 'ExpressionError'
}

type Interpreter = typeof jmespath.TreeInterpreter
type Value = Parameters<Interpreter['visit']>[1]

/** What stands already, and what only hands values on: neither makes anything. */
const PASSING = new Set([
  ...['Field', 'Index', 'Identity', 'Current', 'Root', 'Literal', 'Variable', 'Subexpression', 'Pipe'],
  ...['IndexExpression', 'OrExpression', 'AndExpression', 'Ternary', 'ExpressionReference', 'LetExpression'],
])

/** Functions that walk over all that their arguments hold, or put it together; others look at elements, each of which is counted. */
const DEEP = new Set(['to_string', 'contains', 'join', 'sort'])

const CHARACTERS_PER_VALUE = 16

/**
 * The library's interpreter with bounds. Sizes are counted before a function or a comparison walks over its values, for a small
 * expression can name one value a million times over.
 */
class BoundedInterpreter extends (jmespath.TreeInterpreter.constructor as new () => Interpreter) {
  budget = createBudget({ work: 0, size: 0 })

  override withScope(scope: Parameters<Interpreter['withScope']>[0]): Interpreter {
    this.charge(100)
    // The library makes one of its own class: its state goes over, and its functions are to look at values within the bounds.
    const bounded = Object.assign(new BoundedInterpreter(), super.withScope(scope), { budget: this.budget })
    bounded.runtime._interpreter = bounded
    return bounded
  }

  override visit(node: ExpressionNode, value: Value): ReturnType<Interpreter['visit']> {
    this.charge(1)
    // Only what a value has of its own: `constructor` is no member of JSON.
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
    this.charge(foreseeSize(node.name, args, this.budget.size))
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
      throw new ExpressionError('takes more work than an expression may, or those beside it together')
  }

  /** A value with all that it holds; what stands in it twice counts twice. Throws where that is more than a value may have. */
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

/** A value without what its elements hold. */
function lengthOf(value: unknown): number {
  if (typeof value === 'string') return 1 + value.length / CHARACTERS_PER_VALUE
  return Array.isArray(value) ? 1 + value.length : 1
}

/** How large, in the units of `sizeOf`, a function's answer may become that makes long text of short. */
function foreseeSize(name: string, args: JsonValue[], most: number): number {
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

/** Names of all functions that an expression may call. */
export const functionNames: readonly string[] = interpreter.runtime.getRegistered()

/** What models write around JSON though they are asked for nothing else. */
const FENCED = /^\s*```[A-Za-z]*\s*\n([\s\S]*?)\n?\s*```\s*$/

function parseJsonText(text: string): JsonValue {
  try {
    return JSON.parse(FENCED.exec(text)?.[1] ?? text) as JsonValue
  } catch {
    throw new ExpressionError('json(): the text is no JSON')
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
    throw new ExpressionError(`is no JMESPath: ${reason}`)
  }
}

/** The library's own words, which quote a token of the expression at the most. */
function readReason(error: unknown): string {
  const message = error instanceof Error ? error.message : ''
  return message.replace(/^Syntax error:?,? ?/, '').slice(0, 200) || 'it cannot be read'
}

/**
 * Evaluates an expression; null: there is no value. Throws `ExpressionError` where a function gets what it does not take, or a
 * bound is passed.
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
        'makes, with the expressions beside it, a larger value than they may together',
      )
    return value
  } catch (error) {
    if (error instanceof ExpressionError) throw error
    if (error instanceof RangeError)
      throw new ExpressionError('is nested too deeply, or its value is too large')
    throw new ExpressionError(describeFailure(error))
  }
}

/** A number that is not the one that was written would go into a prompt unseen, and one beyond all numbers as the word null. */
function checkNumbers(value: JsonValue): void {
  if (typeof value === 'number') {
    if (!Number.isFinite(value) || (Number.isInteger(value) && !Number.isSafeInteger(value)))
      throw new ExpressionError('has a number that is too large to be held exactly; let it be text')
  } else if (typeof value === 'object' && value !== null) {
    for (const member of Object.values(value)) checkNumbers(member!)
  }
}

/** Type errors of the library name types alone, other errors may quote a value. */
function describeFailure(error: unknown): string {
  const message = error instanceof Error ? error.message : ''
  const isSafe =
    /^(TypeError|Invalid type|Invalid arity|Unknown function|Error referencing|Invalid value)/.test(message)
  return isSafe
    ? message.slice(0, 300)
    : 'cannot be evaluated: a function was given a value that it does not take'
}
