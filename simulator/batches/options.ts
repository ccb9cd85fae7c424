/** Settings of the simulated batch APIs; a missing member keeps its default. */
export type BatchSettings = {
  /** From the creation to the end of the last line, ms; lines end evenly spread over it. Default 0. */
  turnaroundMs: number
  /** How long a batch is `validating`, ms. Default 0. */
  validateMs: number
  /** From a cancel to the end of the batch, ms. Default 0. */
  cancelMs: number
  /** Time after the creation at which lines that are not done expire, ms. Default 24 h. */
  expiryMs: number
  /** The most estimated input tokens of a model's open batches together; null: no limit. */
  maxQueuedTokens: number | null
  /** The most entries in one page of a list. Default 100. */
  pageSize: number
  /** True: an empty list has `"data": null`. Default false. */
  nullLists: boolean
}

export const DEFAULT_BATCH_SETTINGS: BatchSettings = {
  turnaroundMs: 0,
  validateMs: 0,
  cancelMs: 0,
  expiryMs: 24 * 60 * 60 * 1000,
  maxQueuedTokens: null,
  pageSize: 100,
  nullLists: false,
}

/** Parses the body of `POST /_sim/batches`. Ignores members of a wrong type. */
export function readBatchSettings(body: Record<string, unknown>): Partial<BatchSettings> {
  const read: Partial<BatchSettings> = {}
  for (const name of ['turnaroundMs', 'validateMs', 'cancelMs', 'expiryMs', 'pageSize'] as const) {
    const value = body[name]
    if (typeof value === 'number') read[name] = value
  }
  if (body.maxQueuedTokens === null || typeof body.maxQueuedTokens === 'number') {
    read.maxQueuedTokens = body.maxQueuedTokens
  }
  if (typeof body.nullLists === 'boolean') read.nullLists = body.nullLists
  return read
}
