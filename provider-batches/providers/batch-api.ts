import { isJsonObject } from '../../lib/json.ts'
import type { ProviderBatch } from '../batch.ts'

/** A line as it is sent to the provider: its name, and the request's body as JSON. */
export type OutgoingLine = { customId: string; body: string }

/** The outcome of one line. `undone`: the provider did not process it, and says why. */
export type LineResult =
  | { customId: unknown; kind: 'answer'; status: number; body: string }
  | { customId: unknown; kind: 'undone'; code: string }

/** What the provider reports about a batch. */
export type BatchView = {
  phase: 'open' | 'over'
  /** Outcome of a batch that is over. */
  outcome: 'completed' | 'failed' | 'expired' | 'cancelled' | null
  /** Whether the provider is cancelling it. */
  isCancelling: boolean
  /** How many lines have an answer with a 2xx, as the provider counts them; null: it does not say. */
  answered: number | null
  /** Why the provider rejected the batch. */
  fault: { code: string; message: string } | null
  /** Ids of the result files. */
  resultFiles: string[]
}

/** The batches of one provider, for one lane. Methods throw BatchApiError, also when the connection fails. */
export type BatchApi = {
  /** Uploads the lines as a file and returns its id. Null: the lines are sent by `create`. */
  upload:
    | ((batch: ProviderBatch, lines: AsyncIterable<OutgoingLine>, signal: AbortSignal) => Promise<string>)
    | null
  /** Removes files of this batch that a process uploaded before it died. */
  removeUploads(batch: ProviderBatch): Promise<void>
  /** Creates the batch. Returns the provider's id. */
  create(batch: ProviderBatch, lines: AsyncIterable<OutgoingLine>, signal: AbortSignal): Promise<string>
  /**
   * Looks for a batch that may have been created. `isSure` false: it looks like this one, and its results will tell.
   *
   * @param known provider ids of our other batches
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
  /** Removes what is no longer needed from the provider. */
  cleanUp(batch: ProviderBatch, view: BatchView | null): Promise<void>
}

/** A request about a batch failed or was refused. */
export class BatchApiError extends Error {
  override readonly name = 'BatchApiError'
  /** Null: there was no answer, so it is unknown whether the request had an effect. */
  readonly status: number | null
  readonly code: string | null

  constructor(message: string, status: number | null, code: string | null, options?: ErrorOptions) {
    super(message, options)
    this.status = status
    this.code = code
  }

  /** Whether the request certainly had no effect. */
  get isRefusal(): boolean {
    return (
      this.status !== null &&
      this.status >= 400 &&
      this.status < 500 &&
      this.status !== 408 &&
      this.status !== 409
    )
  }

  /** Whether the provider's queue is full, or a rate limit was hit: try again later. */
  get isForLater(): boolean {
    return this.status === 429 || isFullQueue(this.code)
  }
}

/**
 * Returns the id in the answer to a creation. Without one it is unknown what was created, as if no answer had come.
 *
 * @param what the request, for the error
 */
export function requireId(what: string, made: unknown): string {
  const id = isJsonObject(made) ? made.id : undefined
  if (typeof id === 'string' && id !== '') return id
  throw new BatchApiError(`${what}: the answer has no id`, null, null)
}

/** The batches or files in a page of a list. Some servers send null for an empty list. */
export function entriesOf<T extends object>(data: readonly (T | null)[] | null | undefined): T[] {
  return (data ?? []).filter((one): one is T => isJsonObject(one))
}

/** A count of a batch's lines; null where the provider sends none. */
export function toCount(value: unknown): number | null {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 ? value : null
}

/** Whether a code means that the provider's queue of tokens or requests is full. */
export function isFullQueue(code: string | null): boolean {
  return code !== null && /^(?:token|request)_limit_exceeded$/.test(code)
}
