import type { CallType } from '../lib/call-type.ts'
import type { JsonObject, JsonValue } from '../lib/json.ts'
import type { Usage } from '../lib/usage.ts'

/**
 * What a provider's answer says about the lane's limits. Every member may be missing: providers differ, and
 * proxies drop headers. Counts are what remained of the provider's own window when it answered.
 */
export type Feedback = {
  limitRequests?: number
  limitTokens?: number
  remainingRequests?: number
  remainingTokens?: number
  /** How long the answer asks to wait, in its headers or its words, in milliseconds from it: > 0, at most an hour. */
  retryAfterMs?: number
}

export type ProviderRequest = {
  type: CallType
  /** The provider's own name of the model, without the `provider/` in front. */
  model: string
  /** The client's body. The adapter replaces `model` and passes every other member through untouched. */
  body: JsonObject
  /** Sent as `service_tier`: `flex`, or null for none, whatever the body says. Absent: as the body says. */
  serviceTier?: 'flex' | null
  /** Aborts the upstream call. An abort by the caller answers with the failure class `aborted`. */
  signal: AbortSignal
  timeoutMs: number
  /** Called with each chunk, in order, when `body.stream` is true. */
  onDelta?: (chunk: JsonValue) => void
  /** Called with pieces of the sound of a speech as they come, in order: together they are its media part. */
  onSound?: (piece: SoundPiece) => void
  /** Called with the usage that the answer has stated so far, in case the answer is cut off. */
  onUsage?: (usage: Usage) => void
  /** Opens a file that the body names. Absent: no call of its type names any. */
  openFile?: OpenFile
  /** Asked between two reads of a stream; nothing more is read of it before what it answers resolves. Never rejects. */
  drained?: () => Promise<void> | null
}

export type SoundPiece = { bytes: Buffer; contentType: string }

/** Null: it is not there any more. */
export type OpenFile = (id: string) => Promise<RequestFile | null>

/** A file that is sent with a request; it may be read more than once. */
export type RequestFile = { filename: string; bytes: number; read(): AsyncIterable<Uint8Array> }

export type ProviderSuccess = {
  ok: true
  status: number
  /** The whole answer as the API of the call's type shapes it; for a streamed call put together from its chunks. */
  body: JsonObject
  usage: Usage | null
  /** The tier of service that the answer names, where its body no longer says; null: none. */
  servedTier?: string | null
  /** Bytes that are not in the body: pictures and sound. Absent: none. */
  media?: readonly MediaPart[]
  feedback: Feedback
}

/** Bytes of an answer, and the entry of the list `data` of its body that stands for them. */
export type MediaPart = { at: number; bytes: Buffer; contentType: string }

/**
 * Classes of failure, decided where the error is born, so that the policy above never reads a status:
 * - `throttled`: 429 for rate; pauses the lane, costs no attempt.
 * - `retryable`: 408, 409, 5xx, connection failures, garbage, truncated streams.
 * - `timeout`: the attempt's time was up; retryable.
 * - `final`: 400, 401, 403, 404, 413, 422, `insufficient_quota`…: asking again cannot help.
 * - `aborted`: the caller's signal.
 */
export type FailureClass = 'throttled' | 'retryable' | 'timeout' | 'final' | 'aborted'

/**
 * What a failure is about, as far as the provider says: the rate, a server that is busy or ill, money, the request
 * itself, its length, our key, a content filter, a model that is not there, the connection, an answer that is none.
 */
export type FailureCause =
  | 'rate'
  | 'overloaded'
  /** A cheaper tier of service has no room for the call now. */
  | 'capacity'
  | 'server'
  | 'quota'
  | 'invalid_request'
  | 'too_long'
  | 'auth'
  | 'filter'
  | 'not_found'
  | 'connection'
  | 'answer'
  | 'timeout'
  | 'aborted'

export type ProviderFailure = {
  ok: false
  class: FailureClass
  cause?: FailureCause
  /** The provider's code where it gave one, else ours: `connection_error`, `timeout`, `invalid_answer`, `truncated_stream`… */
  code: string
  /** For people; never holds a key or a prompt. */
  message: string
  /** HTTP status of the provider, null when there was no answer. */
  status: number | null
  /** True when the provider may have done (and billed) the work although no answer came: the outcome is unknown. */
  ambiguous: boolean
  /** True when a connection that had served other calls was closed in between: that says nothing of the provider's state. */
  staleConnection?: boolean
  /** True when the provider refused the request for what it contains (400/422 about the input): a coalesced request is then split. */
  input: boolean
  feedback: Feedback
  /** The provider's error object, without keys; absent where it gave none. */
  providerError?: JsonObject
}

export type ProviderAnswer = ProviderSuccess | ProviderFailure

/** One configured provider. Failures are answers, never exceptions. */
export type Provider = {
  readonly name: string
  call(request: ProviderRequest): Promise<ProviderAnswer>
  /** Input tokens of a message as the provider counts them, in the answer's `input_tokens`; null where it has no endpoint for that. */
  readonly countTokens: ((request: Omit<ProviderRequest, 'type'>) => Promise<ProviderAnswer>) | null
  close(): Promise<void>
}
