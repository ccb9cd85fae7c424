import type { z } from 'zod'
import { isJsonObject } from '../lib/json.ts'
import { findSource, keepSource, keepSourcesAt } from '../lib/json-source.ts'
import { ApiError } from './errors.ts'

type Issue = z.core.$ZodIssue
type RawIssue = z.core.$ZodRawIssue

/** A value has none of its possible shapes. The faults of the nearest one are reported in its place. */
const NO_SHAPE = 'has none of the shapes allowed here'

/** Faults beyond this number are counted, not listed. */
const maxListed = 5

/** Formats a path of zod for people: `body.messages[0].role`. */
export function formatPath(path: readonly PropertyKey[]): string {
  let text = ''
  for (const key of path) {
    if (typeof key === 'number') text += `[${key}]`
    else if (/^[A-Za-z_$][\w$]*$/.test(String(key))) text += text === '' ? String(key) : `.${String(key)}`
    else text += `[${JSON.stringify(String(key).slice(0, 64))}]`
  }
  return text
}

/** zod's error map for requests. It says what was expected and never repeats a value, which may be a prompt. */
function describeIssue(issue: RawIssue): string | undefined {
  switch (issue.code) {
    case 'invalid_type':
      return issue.input === undefined
        ? `is required (expected ${issue.expected})`
        : `expected ${issue.expected === 'int' ? 'integer' : issue.expected}, got ${nameType(issue.input)}`
    case 'invalid_value':
      return `expected ${listChoices(issue.values)}${issue.input === undefined ? '; it is missing' : ''}`
    case 'invalid_union':
      return issue.discriminator === undefined ? NO_SHAPE : undefined
    case 'unrecognized_keys':
      return 'is not a member known here'
    case 'invalid_key':
      return `the name: ${issue.issues[0]?.message ?? 'is none that may stand here'}`
    case 'too_small':
      return `expected at least ${describeBound(issue.origin, issue.minimum)}`
    case 'too_big':
      return `expected at most ${describeBound(issue.origin, issue.maximum)}`
    default:
      return undefined
  }
}

/** One `invalid_request` for all faults of a value. `root` names the value itself; `prefix` is put before every path. */
function toInvalidRequest(issues: readonly Issue[], root: string, prefix = ''): ApiError {
  const faults = expandIssues(issues).map(({ path, message }) => {
    const inside = formatPath(path)
    const place = inside === '' ? root : joinPlace(prefix, inside)
    return { place, text: `${place}: ${message}` }
  })
  const listed = faults.slice(0, maxListed).map((fault) => fault.text)
  const rest = faults.length - listed.length
  const message = listed.join('; ') + (rest > 0 ? `; and ${rest} more` : '')
  return new ApiError('invalid_request', message, { param: faults[0]?.place ?? root })
}

function isBound(code: Issue['code']): boolean {
  return code === 'too_small' || code === 'too_big'
}

type Fault = { path: PropertyKey[]; message: string }

/** All faults. zod also checks the length of what is of another type: such bounds are left out. */
function expandIssues(issues: readonly Issue[]): Fault[] {
  const ofAnotherType = new Set(
    issues.filter(({ code }) => code === 'invalid_type').map(({ path }) => formatPath(path)),
  )
  return issues
    .filter(({ code, path }) => !isBound(code) || !ofAnotherType.has(formatPath(path)))
    .flatMap((issue) => expandIssue(issue))
}

/**
 * An unknown member is reported at its own path, a wrong discriminator with the allowed values, and a value that may have several shapes
 * with the faults of the shape that is nearest.
 */
function expandIssue(issue: Issue): Fault[] {
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({ path: [...issue.path, key], message: issue.message }))
  }
  if (issue.code === 'invalid_union' && 'options' in issue && issue.options !== undefined) {
    return [{ path: issue.path, message: `expected ${listChoices(issue.options)}` }]
  }
  // A schema may say by itself what is expected.
  if (issue.code === 'invalid_union' && issue.message === NO_SHAPE && issue.errors.length > 0) {
    return expandUnion(issue.errors).map(({ path, message }) => ({ path: [...issue.path, ...path], message }))
  }
  return [{ path: issue.path, message: issue.message }]
}

/** The faults of the shape with the fewest, or all types that are expected if the value is of none of them. */
function expandUnion(shapes: readonly (readonly Issue[])[]): Fault[] {
  const fitting = shapes.filter((issues) => !issues.some(isOfAnotherType)).map(expandIssues)
  const [nearest] = fitting.sort((one, other) => one.length - other.length)
  if (nearest !== undefined) return nearest
  const messages = shapes.flatMap((issues) => issues.filter(isOfAnotherType).flatMap(expandIssue))
  return [{ path: [], message: joinExpected(messages.map(({ message }) => message)) }]
}

/** Whether the value as a whole is of another type, or another constant. */
function isOfAnotherType(issue: Issue): boolean {
  if (issue.path.length > 0) return false
  if (issue.code === 'invalid_type' || issue.code === 'invalid_value') return true
  return issue.code === 'invalid_union' && issue.errors.every((issues) => issues.some(isOfAnotherType))
}

/** Makes `expected string or array, got number` of `expected string, got number` and `expected array, got number`. */
function joinExpected(messages: readonly string[]): string {
  const read = messages.map((text) =>
    /^(is required \()?expected (.*?)(, got .*|\)|; it is missing)?$/.exec(text),
  )
  const names = [...new Set(read.flatMap((found) => (found ? found[2]!.split(' or ') : [])))]
  const [first] = read
  if (!first) return messages[0]!
  const last = names.pop()!
  const listed = names.length === 0 ? last : `${names.join(', ')} or ${last}`
  return `${first[1] ?? ''}expected ${listed}${first[3] ?? ''}`
}

function joinPlace(prefix: string, inside: string): string {
  if (prefix === '') return inside
  return inside.startsWith('[') ? prefix + inside : `${prefix}.${inside}`
}

function listChoices(values: readonly unknown[]): string {
  const names = values.map((value) => JSON.stringify(value))
  return names.length < 2 ? names.join('') : `${names.slice(0, -1).join(', ')} or ${names.at(-1)}`
}

function describeBound(origin: string, bound: number | bigint): string {
  if (origin === 'string') return `${bound} ${bound === 1 ? 'character' : 'characters'}`
  if (origin === 'array') return `${bound} ${bound === 1 ? 'entry' : 'entries'}`
  return String(bound)
}

function nameType(value: unknown): string {
  if (value === null) return 'null'
  if (Number.isNaN(value)) return 'something else'
  return Array.isArray(value) ? 'array' : typeof value
}

/**
 * Parses a client's value. Throws one `invalid_request` for all its faults. A parsed object, and its member `body`, keep their source text:
 * schemas check them but change nothing.
 */
export function parseRequest<Schema extends z.ZodType>(
  schema: Schema,
  value: unknown,
  root: string,
  prefix = '',
): z.output<Schema> {
  const parsed = schema.safeParse(value, { error: describeIssue })
  if (parsed.success) return inheritSource(value, parsed.data)
  throw toInvalidRequest(parsed.error.issues, root, prefix)
}

function inheritSource<Output>(value: unknown, parsed: Output): Output {
  if (!isJsonObject(value) || !isJsonObject(parsed)) return parsed
  const source = findSource(value)
  if (source === undefined) return parsed
  keepSource(parsed, source)
  if ('body' in parsed) keepSourcesAt(parsed, ['body'])
  return parsed
}
