import { fileURLToPath } from 'node:url'

/** The parts of an error that a log may show. */
export type ErrorDescription = {
  /** The class of the error. */
  type: string
  message: string
  code?: string | number
  /** The name of the Redis command that failed. Never its arguments. */
  command?: string
  syscall?: string
  address?: string
  port?: number
  /** Of a file that the system could not open or write. */
  path?: string
  /** Where it was thrown, without the message at the beginning of the stack. */
  stack?: string
  cause?: ErrorDescription
  /** The errors of several attempts, or of the commands of a transaction. */
  errors?: ErrorDescription[]
}

/**
 * Marks errors whose message contains nothing private, even in quotes, because their class wrote it for people.
 * @`class FullError extends Error { readonly [shownWhole] = true }`
 */
export const shownWhole = Symbol.for('sluice.shown-whole')

const MAX_MESSAGE = 300
const MAX_FRAMES = 20
const MAX_CAUSES = 4
const MAX_ERRORS = 5

/** A line of a stack points to code of this program, of its packages or of Node. Any other line that looks like one is text. */
const places = [fileURLToPath(new URL('..', import.meta.url)), 'node:']

/** Descriptions made here, because a logger may pass on an error that another one has already described. */
const described = new WeakSet<object>()

/**
 * Describes an error, or any other thrown value, for a log or for stderr. It contains only the members named in `ErrorDescription`, because
 * libraries put anything into errors: a Redis error has the command with the job's body, its webhook and the password, a URL error the URL,
 * a parser's error the text. Quoted text, URLs and long tokens are removed from messages. Never throws.
 */
export function describeError(error: unknown): ErrorDescription {
  if (typeof error === 'object' && error !== null && described.has(error)) return error as ErrorDescription
  try {
    return describe(error, 0)
  } catch {
    return note({ type: 'Error', message: 'an error that cannot be described' })
  }
}

/** The description as text for stderr: class and message, then the stack and the causes. */
export function writeError(error: unknown): string {
  const { type, message, code, stack, cause, errors } = describeError(error)
  const head = `${type}${code === undefined ? '' : ` [${code}]`}: ${message}`
  const inner = [...(cause ? [cause] : []), ...(errors ?? [])].map((one) => `caused by ${writeError(one)}`)
  return [head, ...(stack ? [stack] : []), ...inner].join('\n')
}

function describe(error: unknown, depth: number): ErrorDescription {
  if (!(error instanceof Error)) return note({ type: typeof error, message: 'what was thrown is no error' })
  const members = error as Error & Record<PropertyKey, unknown>
  const { code, command, syscall, address, port, path } = members
  const inner = readInner(members)
  return note({
    type: readType(error),
    message: members[shownWhole] === true ? error.message : hideQuoted(error.message),
    ...(isCode(code) ? { code } : {}),
    ...(isRecord(command) && isWord(command.name) ? { command: command.name } : {}),
    ...(isWord(syscall) ? { syscall } : {}),
    ...(isWord(address) ? { address } : {}),
    ...(typeof port === 'number' ? { port } : {}),
    ...(isWord(syscall) && typeof path === 'string' ? { path: path.slice(0, MAX_MESSAGE) } : {}),
    ...readStack(error),
    ...(error.cause !== undefined && depth < MAX_CAUSES ? { cause: describe(error.cause, depth + 1) } : {}),
    ...(inner.length > 0 && depth < MAX_CAUSES
      ? { errors: inner.slice(0, MAX_ERRORS).map((one) => describe(one, depth + 1)) }
      : {}),
  })
}

/** The attempts inside an error, the errors of a transaction's commands, the last error of a cluster's node. */
function readInner(members: Record<PropertyKey, unknown>): unknown[] {
  const { errors, previousErrors, lastNodeError } = members
  return [errors, previousErrors, lastNodeError].flat().filter((one) => one instanceof Error)
}

function note(description: ErrorDescription): ErrorDescription {
  described.add(description)
  return description
}

function readType(error: Error): string {
  const { name } = error
  const type = name === 'Error' ? error.constructor.name : name
  return isWord(type) ? type : 'Error'
}

/** `ECONNREFUSED`, `FST_ERR_BAD_URL`, an HTTP status. */
function isCode(value: unknown): value is string | number {
  return (
    typeof value === 'number' || (typeof value === 'string' && /^[A-Za-z][A-Za-z0-9_]{0,47}$/.test(value))
  )
}

function isWord(value: unknown): value is string {
  return typeof value === 'string' && /^[\w.:|-]{1,64}$/.test(value)
}

/**
 * The first line of a message without quoted text, from the first quote to the last, because quoted text may contain quotes itself. Redis
 * repeats the arguments of unknown commands, and a JSON parser repeats the text around the error.
 */
function hideQuoted(message: unknown): string {
  if (typeof message !== 'string') return ''
  const [line = ''] = message.slice(0, 10_000).split(/[\r\n]/, 1)
  // After a letter it may be an apostrophe.
  const opened = line.search(/(?<!\w)['’]|["`‘“]/)
  const closed = Math.max(...['"', "'", '`', '’', '”'].map((quote) => line.lastIndexOf(quote)))
  const rest = closed > opened ? line.slice(closed + 1) : ''
  const shown = opened === -1 ? line : `${line.slice(0, opened)}…${rest}`
  return shown
    .replaceAll(/\b[a-z][a-z0-9+.-]{0,15}:\/\/\S+/gi, '[url]')
    .replaceAll(/[\w+=~-]{33,}/g, '…')
    .slice(0, MAX_MESSAGE)
}

/** The locations of a stack. The search begins after the message, which may look like locations. */
function readStack(error: Error): { stack?: string } {
  const { stack, message } = error
  if (typeof stack !== 'string') return {}
  const begun = message === '' ? 0 : stack.indexOf(message)
  const frames = (begun === -1 ? stack : stack.slice(begun + message.length))
    .split('\n')
    .filter(
      (line) =>
        /^ {4}at [^'"`]{0,300}:\d+:\d+\)?$/.test(line) && places.some((place) => line.includes(place)),
    )
    .map((line) => line.trimEnd())
  return frames.length === 0 ? {} : { stack: frames.slice(0, MAX_FRAMES).join('\n') }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}
