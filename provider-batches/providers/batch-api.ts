import type { ProviderBatch } from '../batch.ts'

/** A line as it goes to the provider: its name, and the request's body as JSON. */
export type OutgoingLine = { customId: string; body: string }

/** How one line ended. `undone`: the provider did not do it, and says why. */
export type LineResult =
  | { customId: unknown; kind: 'answer'; status: number; body: string }
  | { customId: unknown; kind: 'undone'; code: string }

/** What the provider says of a batch. */
export type BatchView = {
  phase: 'open' | 'over'
  /** Of one that is over. */
  outcome: 'completed' | 'failed' | 'expired' | 'cancelled' | null
  /** Why the provider did not take it. */
  fault: { code: string; message: string } | null
  /** Files with results. */
  resultFiles: string[]
}

/** The batches of one provider, for one lane. Errors are those of `BatchApiError`, or of the connection. */
export type BatchApi = {
  /** Sends the lines as a file; the answer is its id. Null: the lines go with `create`. */
  upload:
    | ((batch: ProviderBatch, lines: AsyncIterable<OutgoingLine>, signal: AbortSignal) => Promise<string>)
    | null
  /** Removes files of this batch that were sent by a process which died before it knew. */
  removeUploads(batch: ProviderBatch): Promise<void>
  /** Creates it; the answer is the provider's id. */
  create(batch: ProviderBatch, lines: AsyncIterable<OutgoingLine>, signal: AbortSignal): Promise<string>
  /**
   * Looks for a batch that may have been created. `isSure` false: it looks like this one, and its results will tell.
   *
   * @param known provider's ids of other batches of ours
   */
  find(
    batch: ProviderBatch,
    known: ReadonlySet<string>,
  ): Promise<{ providerId: string; isSure: boolean } | null>
  /** Null: the provider does not know it. */
  read(providerId: string): Promise<BatchView | null>
  /** The results of a batch that is over, in any order. */
  results(batch: ProviderBatch, view: BatchView, signal: AbortSignal): AsyncIterable<LineResult>
  cancel(providerId: string): Promise<void>
  /** Removes from the provider what is not needed any more. */
  cleanUp(batch: ProviderBatch, view: BatchView | null): Promise<void>
}

/** Why a provider refused a request about a batch. */
export class BatchApiError extends Error {
  override readonly name = 'BatchApiError'
  /** Null: there was no answer, so nobody knows whether it was done. */
  readonly status: number | null
  readonly code: string | null

  constructor(message: string, status: number | null, code: string | null, options?: ErrorOptions) {
    super(message, options)
    this.status = status
    this.code = code
  }

  /** Whether the request surely did nothing. */
  get isRefusal(): boolean {
    return (
      this.status !== null &&
      this.status >= 400 &&
      this.status < 500 &&
      this.status !== 408 &&
      this.status !== 409
    )
  }

  /** Whether the provider's queue is full, or it is asked too often: it may be asked later. */
  get isForLater(): boolean {
    return this.status === 429 || isFullQueue(this.code)
  }
}

/** Codes by which providers say that their queue of tokens or requests is full. */
export function isFullQueue(code: string | null): boolean {
  return code !== null && /^(?:token|request)_limit_exceeded$/.test(code)
}
