import { z } from 'zod'
import { isJsonObject, type JsonObject } from '../../lib/json.ts'
import { keepSourcesAt } from '../../lib/json-source.ts'
import { ApiError, type ErrorMembers } from '../errors.ts'
import { eventFilterShape } from '../events/schema.ts'
import { parseRequest } from '../issues.ts'
import { parseJson } from '../parse-json.ts'

/** Matches messages: a subscription with its events, a submission with its answer. */
const id = z.string().min(1).max(128)

const auth = z.strictObject({
  type: z.literal('auth'),
  key: z.string().max(1000),
  tenant: z
    .string()
    .max(200)
    .optional()
    .describe('For an administrator: the tenant to act as, as `x-tenant` says.'),
})

const subscribe = z.strictObject({
  type: z.literal('subscribe'),
  id,
  job: z.string().max(200).optional(),
  group: z.string().max(200).optional(),
  flow: z.string().max(200).optional(),
  all: z.literal(true).optional(),
  after: z.string().max(200).optional().describe('A cursor; of `all` also `now`.'),
  filter: z
    .strictObject(eventFilterShape)
    .optional()
    .describe('With `all`: as the parameters of `GET /v1/events`.'),
  deltas: z.boolean().optional().describe('With `all`: chunks of streams too.'),
})

const unsubscribe = z.strictObject({ type: z.literal('unsubscribe'), id })

const submit = z.strictObject({
  type: z.literal('submit'),
  id,
  job: z
    .unknown()
    .refine(isJsonObject, { error: 'expected object' })
    .describe('As `POST /v1/jobs` takes it.'),
  idempotency_key: z.string().optional(),
})

const ping = z.strictObject({ type: z.literal('ping'), id: id.optional() })

const clientMessageSchema = z.discriminatedUnion('type', [auth, subscribe, unsubscribe, submit, ping])
export type ClientMessage = z.infer<typeof clientMessageSchema>
export type Subscribe = z.infer<typeof subscribe>

export type ServerMessage =
  | { type: 'event'; id: string; cursor: string; event: string; data: object }
  | { type: 'accepted'; id: string; job: object }
  | { type: 'end'; id: string }
  | { type: 'cursor'; id: string; cursor: string }
  | { type: 'pong'; id: string | null }
  | { type: 'error'; id: string | null; error: ErrorMembers }

/** An invalid message, with its id for the answer if it had one. */
export class MessageError extends Error {
  override readonly name = 'MessageError'
  readonly id: string | null
  readonly fault: ApiError

  constructor(id: string | null, fault: ApiError) {
    super(fault.message)
    this.id = id
    this.fault = fault
  }
}

/** Throws MessageError. A job in the message keeps its text. */
export function parseMessage(data: Buffer, isBinary: boolean): ClientMessage {
  if (isBinary)
    throw new MessageError(
      null,
      new ApiError('invalid_request', 'message: expected text, not bytes', { param: 'message' }),
    )
  const value = orFault(null, () => parseJson(data, 'message'))
  const known = isJsonObject(value) ? id.safeParse(value.id).data : undefined
  return orFault(known ?? null, () => {
    const message = parseRequest(clientMessageSchema, value, 'message')
    if (message.type !== 'submit') return message
    keepSourcesAt(value as JsonObject, ['job'])
    return { ...message, job: (value as JsonObject).job as JsonObject }
  })
}

function orFault<T>(id: string | null, run: () => T): T {
  try {
    return run()
  } catch (error) {
    if (error instanceof ApiError) throw new MessageError(id, error)
    throw error
  }
}
