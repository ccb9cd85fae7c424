import type { CallType } from '../lib/call-type.ts'
import type { JsonObject, JsonValue } from '../lib/json.ts'
import type { Usage } from '../lib/usage.ts'

/**
 * The lane's limits as a provider's answer reports them. Every member may be missing: providers differ, and proxies drop headers. Counts
 * are what remained of the provider's own window when it answered.
 */
export type Feedback = {
  limitRequests?: number
  limitTokens?: number
  remainingRequests?: number
  remainingTokens?: number
  /** How long the answer asks to wait, in its headers or its message, in ms after it came: > 0, at most an hour. */
  retryAfterMs?: number
}

export type ProviderRequest = {
  type: CallType
  /** The provider's name for the model, without `provider/` in front. */
  model: string
  /** The client's body. The adapter replaces `model` and passes all other members through unchanged. */
  body: JsonObject
  /** Sent as `service_tier`: `flex`, or null to remove it. Absent: the body decides. */
  serviceTier?: 'flex' | null
  /** Aborts the upstream call, which then returns the failure class `aborted`. */
  signal: AbortSignal
  timeoutMs: number
  /** Called with each chunk, in order, when `body.stream` is true. */
  onDelta?: (chunk: JsonValue) => void
  /** Called with pieces of a speech's audio, in order. Joined they are its media part. */
  onAudio?: (piece: AudioPiece) => void
  /** Called with the usage stated so far, in case the answer is cut off. */
  onUsage?: (usage: Usage) => void
  /** Opens a file that the body names. Absent: calls of this type name none. */
  openFile?: OpenFile
  /** Called between two reads of a stream. The stream is not read further until the promise resolves. Never rejects. */
  drained?: () => Promise<void> | null
}

export type AudioPiece = { bytes: Buffer; contentType: string }

/** Null: the file no longer exists. */
export type OpenFile = (id: string) => Promise<RequestFile | null>

/** A file that is sent with a request. It may be read more than once. */
export type RequestFile = { filename: string; bytes: number; read(): AsyncIterable<Uint8Array> }

export type ProviderSuccess = {
  ok: true
  status: number
  /** The whole answer in the shape of the call's API; of a streamed call, assembled from its chunks. */
  body: JsonObject
  usage: Usage | null
  /** The service tier that the answer names, where the body no longer has it; null: none. */
  servedTier?: string | null
  /** Bytes that are not in the body: images and audio. Absent: none. */
  media?: readonly MediaPart[]
  feedback: Feedback
}

/** Bytes of an answer, and the index of the entry in `data` that stands for them. */
export type MediaPart = { at: number; bytes: Buffer; contentType: string }

/**
 * Classes of failure. The adapter decides them, so that the retry policy never reads a status:
 * - `throttled`: 429 for a rate limit; pauses the lane, costs no attempt.
 * - `retryable`: 408, 409, 5xx, connection failures, invalid answers, truncated streams.
 * - `timeout`: the attempt timed out; retryable.
 * - `final`: 400, 401, 403, 404, 413, 422, `insufficient_quota`…: a retry cannot help.
 * - `aborted`: the caller's signal.
 */
export type FailureClass = 'throttled' | 'retryable' | 'timeout' | 'final' | 'aborted'

/**
 * What a failure is about, as far as the provider tells: a rate limit, a busy or failing server, money, the request, its length, our key, a
 * content filter, a missing model, the connection, or an invalid answer.
 */
export type FailureCause =
  | 'rate'
  | 'overloaded'
  /** A cheaper service tier has no capacity for the call now. */
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
  /** The provider's code, or ours where it gave none: `connection_error`, `timeout`, `invalid_answer`, `truncated_stream`… */
  code: string
  /** For people. Never holds a key or a prompt. */
  message: string
  /** The provider's HTTP status; null when there was no answer. */
  status: number | null
  /** True when the provider may have done (and billed) the work although no answer came. */
  ambiguous: boolean
  /** True when a reused connection had been closed meanwhile: that says nothing about the provider's health. */
  staleConnection?: boolean
  /** True when the provider refused the request because of its input (400/422): a coalesced request is then split. */
  input: boolean
  feedback: Feedback
  /** The provider's error object without keys; absent where it gave none. */
  providerError?: JsonObject
}

export type ProviderAnswer = ProviderSuccess | ProviderFailure

/** One configured provider. Failures are returned, never thrown. */
export type Provider = {
  readonly name: string
  call(request: ProviderRequest): Promise<ProviderAnswer>
  /** Counts the input tokens of a message at the provider (`input_tokens` of the answer); null where it has no such endpoint. */
  readonly countTokens: ((request: Omit<ProviderRequest, 'type'>) => Promise<ProviderAnswer>) | null
  close(): Promise<void>
}
