import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'
import { stringifyJson, withMembers } from '../lib/json-source.ts'
import {
  createBudget,
  type ExpressionBudget,
  ExpressionError,
  type ExpressionNode,
  evaluate,
  parseExpression,
} from './expression.ts'
import { findReferences, type References, UnknownNameError } from './references.ts'

/** One `${{ … }}`. */
export type Expression = {
  /** The original text, without the braces. */
  text: string
  node: ExpressionNode
  references: References
  /** Where it is, such as `steps.edit.job.body.messages[0].content`. */
  place: string
  /** True: the string is only this expression, so its value replaces the string and keeps its type. */
  isWhole: boolean
}

/** A JSON value whose strings may contain expressions. */
export type Template = {
  value: JsonValue
  /** All expressions, in order. */
  expressions: Expression[]
  /** Fills in the expressions; null: the value has none and stays as it is. */
  fill: ((evaluate: (expression: Expression) => JsonValue) => JsonValue) | null
}

/** An expression that cannot be parsed, or uses unknown names. */
export class TemplateError extends Error {
  override readonly name = 'TemplateError'
  readonly place: string

  constructor(place: string, message: string) {
    super(message)
    this.place = place
  }
}

/** An expression has no value where one is needed. */
export class UnresolvedError extends Error {
  override readonly name = 'UnresolvedError'
  readonly expression: Expression

  constructor(expression: Expression) {
    super(`${expression.place}: \${{ ${shorten(expression.text)} }} has no value`)
    this.expression = expression
  }
}

/** An expression could not be evaluated. */
export class EvaluationError extends Error {
  override readonly name = 'EvaluationError'
  readonly place: string

  constructor({ place, text }: Expression, reason: string) {
    super(`${place}: \${{ ${shorten(text)} }}: ${reason}`)
    this.place = place
  }
}

function shorten(text: string): string {
  return text.length > 200 ? `${text.slice(0, 200)}…` : text
}

const OPEN = '${{'

/** Finds the expressions of a value. Throws `TemplateError`. */
export function parseTemplate(value: JsonValue, place: string): Template {
  const expressions: Expression[] = []
  return { value, expressions, fill: compile(value, place, expressions) }
}

type Fill = NonNullable<Template['fill']>

function compile(value: JsonValue, place: string, found: Expression[]): Fill | null {
  if (typeof value === 'string') return compileText(value, place, found)
  if (Array.isArray(value)) {
    const fills = value.map((element, index) => compile(element, `${place}[${index}]`, found))
    if (fills.every((fill) => fill === null)) return null
    return (resolve) => value.map((element, index) => fills[index]?.(resolve) ?? element)
  }
  if (!isJsonObject(value)) return null
  const fills: [string, Fill][] = []
  for (const [name, member] of Object.entries(value)) {
    if (name.includes(OPEN))
      throw new TemplateError(`${place}${formatName(name)}`, 'a name cannot contain an expression')
    const fill = member === undefined ? null : compile(member, `${place}${formatName(name)}`, found)
    if (fill !== null) fills.push([name, fill])
  }
  if (fills.length === 0) return null
  // Members without expressions keep their original text.
  return (resolve) => {
    const changes: JsonObject = {}
    for (const [name, fill] of fills) changes[name] = fill(resolve)
    return withMembers(value, changes)
  }
}

function formatName(name: string): string {
  return /^[A-Za-z_$][\w$]*$/.test(name) ? `.${name}` : `[${JSON.stringify(name.slice(0, 64))}]`
}

function compileText(text: string, place: string, found: Expression[]): Fill | null {
  const parts = splitText(text, place)
  if (parts === null) return null
  const isWhole = parts.length === 1
  const compiled = parts.map((part) => {
    if (typeof part === 'string') return part
    const expression = toExpression(part.expression, place, isWhole)
    found.push(expression)
    return expression
  })
  const [only] = compiled
  if (isWhole) return (resolve) => resolve(only as Expression)
  return (resolve) =>
    compiled.map((part) => (typeof part === 'string' ? part : toText(resolve(part)))).join('')
}

function toText(value: JsonValue): string {
  return typeof value === 'string' ? value : stringifyJson(value)
}

function toExpression(text: string, place: string, isWhole: boolean): Expression {
  try {
    const node = parseExpression(text)
    return { text, node, references: findReferences(node), place, isWhole }
  } catch (error) {
    if (error instanceof ExpressionError || error instanceof UnknownNameError) {
      throw new TemplateError(place, `\${{ ${shorten(text)} }}: ${error.message}`)
    }
    throw error
  }
}

/** Splits a string into text and expressions; null: it contains no expression. Throws `TemplateError`. */
function splitText(text: string, place: string): (string | { expression: string })[] | null {
  let at = text.indexOf(OPEN)
  if (at < 0) return null
  const parts: (string | { expression: string })[] = []
  let from = 0
  while (at >= 0) {
    const end = findEnd(text, at + OPEN.length)
    if (end < 0) throw new TemplateError(place, `has "${OPEN}" without a closing "}}"`)
    if (at > from) parts.push(text.slice(from, at))
    parts.push({ expression: text.slice(at + OPEN.length, end).trim() })
    from = end + 2
    at = text.indexOf(OPEN, from)
  }
  if (from < text.length) parts.push(text.slice(from))
  return parts
}

/** Finds the end of an expression: `}}` outside its own quotes and braces; -1: there is none. */
function findEnd(text: string, from: number): number {
  let depth = 0
  for (let at = from; at < text.length; at++) {
    const character = text[at]!
    if (character === "'" || character === '"' || character === '`') {
      at = findQuote(text, at + 1, character)
      if (at < 0) return -1
    } else if (character === '{') depth++
    else if (character === '}') {
      if (depth === 0 && text[at + 1] === '}') return at
      depth = Math.max(0, depth - 1)
    }
  }
  return -1
}

function findQuote(text: string, from: number, quote: string): number {
  for (let at = from; at < text.length; at++) {
    if (text[at] === '\\') at++
    else if (text[at] === quote) return at
  }
  return -1
}

/** Evaluates an expression; null only with `mayBeNull`. Throws `UnresolvedError` and `EvaluationError`. */
export type Resolver = (expression: Expression, options?: { mayBeNull?: boolean }) => JsonValue

/** Creates a resolver for one template, with one context and one budget. */
export function createResolver(
  context: { [name: string]: JsonValue | undefined },
  budget: ExpressionBudget = createBudget(),
): Resolver {
  return (expression, { mayBeNull = false } = {}) => {
    const value = evaluateWithin(expression, context, budget)
    if (value === null && !mayBeNull) throw new UnresolvedError(expression)
    return value
  }
}

function evaluateWithin(
  expression: Expression,
  context: { [name: string]: JsonValue | undefined },
  budget: ExpressionBudget,
): JsonValue {
  try {
    return evaluate(expression.node, context, budget)
  } catch (error) {
    if (error instanceof ExpressionError) throw new EvaluationError(expression, error.message)
    throw error
  }
}
