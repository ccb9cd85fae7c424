import type { z } from 'zod'
import { laneFaults } from './cross-checks.ts'
import { expectedDuration, expectedSize } from './schema-parts.ts'

export type FaultPath = readonly (string | number)[]

/** One error. `line`, from 1, is set where the path would not lead to the line. */
export type ConfigFault = { path: FaultPath; message: string; line?: number }

type Issue = z.core.$ZodIssue

const printableTexts: ReadonlySet<string> = new Set([
  expectedDuration,
  expectedSize,
  ...Object.values(laneFaults),
])

const expectations: Readonly<Record<string, string>> = {
  string: 'a string',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'a mapping',
  record: 'a mapping',
}

/** Formats a path for a fault: `routes.fast[1]`. */
export function formatPath(path: FaultPath): string {
  return path
    .map((step, index) => (typeof step === 'number' ? `[${step}]` : index === 0 ? step : `.${step}`))
    .join('')
}

/**
 * Converts an issue to a fault for each thing that it names. A value is only shown where a number, a choice, a duration, a size or a lane
 * was expected, and never if it came from the environment: then `sourceOf` returns the text of the file, such as `${RATE}`. In all other
 * places there may be a secret, so only the type is shown.
 */
export function describeIssue(
  issue: Issue,
  sourceOf: (path: FaultPath) => string | undefined,
): ConfigFault[] {
  const path = issue.path.map((step) => (typeof step === 'number' ? step : String(step)))
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({ path: [...path, key], message: issue.message }))
  }
  if (issue.code === 'invalid_union') {
    // Of "a word or a mapping", the mapping is meant if one is given.
    const meant = isRecord(issue.input) ? issue.errors.find(isAboutMembers) : undefined
    const within = meant?.map((one) => ({ ...one, path: [...issue.path, ...one.path] }) as Issue)
    if (within !== undefined) return within.flatMap((one) => describeIssue(one, sourceOf))
  }
  const shown = sourceOf(path) ?? show(issue.input)
  return [{ path, message: describe(issue, shown) }]
}

/** Whether the issues of one form of a value concern its members, and not the form. */
function isAboutMembers(issues: readonly Issue[]): boolean {
  return issues.every((issue) => issue.path.length > 0 || issue.code === 'unrecognized_keys')
}

function describe(issue: Issue, shown: string): string {
  switch (issue.code) {
    case 'invalid_type':
      return describeType(issue, shown)
    case 'invalid_value':
      return `expected ${listChoices(issue.values)}, got ${shown}`
    case 'invalid_union':
      if (issue.discriminator === undefined) return `expected "auto" or a mapping, got ${shown}`
      return `expected ${listChoices('options' in issue ? (issue.options ?? []) : [])}, ${issue.input === undefined ? 'got nothing' : `got ${describeKind(issue.input, 'kind')}`}`
    case 'invalid_key':
      return issue.issues[0]?.message ?? 'not a name'
    case 'too_small':
    case 'too_big':
      return describeBound(issue, shown)
    default:
      return printableTexts.has(issue.message) ? `${issue.message}, got ${shown}` : issue.message
  }
}

function describeType(issue: Extract<Issue, { code: 'invalid_type' }>, shown: string): string {
  const printable = printableTexts.has(issue.message)
  const expected = printable ? issue.message : `expected ${expectations[issue.expected] ?? issue.expected}`
  if (issue.input === undefined) return `missing; ${expected}`
  const safe =
    printable || issue.expected === 'number' || issue.expected === 'int' || issue.expected === 'boolean'
  return `${expected}, got ${safe ? shown : nameType(issue.input)}`
}

function describeBound(issue: Extract<Issue, { code: 'too_small' | 'too_big' }>, shown: string): string {
  const limit = issue.code === 'too_small' ? issue.minimum : issue.maximum
  const bound =
    issue.code === 'too_small'
      ? issue.inclusive
        ? 'at least'
        : 'more than'
      : issue.inclusive
        ? 'at most'
        : 'less than'
  if (issue.origin === 'number' || issue.origin === 'int') return `expected ${bound} ${limit}, got ${shown}`
  if (issue.origin === 'string') return `expected ${bound} ${limit} character${limit === 1 ? '' : 's'}`
  return `expected ${bound} ${limit} ${limit === 1 ? 'entry' : 'entries'}`
}

/** The member that decides which kind of object this is. Its value is a choice, never a secret. */
function describeKind(input: unknown, discriminator: string): string {
  const value = isRecord(input) ? input[discriminator] : input
  return value === undefined ? 'nothing' : show(value)
}

function listChoices(values: readonly unknown[]): string {
  return `one of ${values.map((value) => JSON.stringify(value)).join(', ')}`
}

function show(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value)
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : nameType(value)
}

function nameType(value: unknown): string {
  if (value === undefined || value === null) return 'nothing'
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'object') return 'a mapping'
  return typeof value === 'boolean' ? 'true or false' : `a ${typeof value}`
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
