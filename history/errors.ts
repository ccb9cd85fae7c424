/** What a database said. `code` is PostgreSQL's SQLSTATE or SQLite's number. */
export class DatabaseError extends Error {
  override readonly name = 'DatabaseError'
  readonly code: string | null

  constructor(message: string, code: string | null) {
    super(message)
    this.code = code
  }
}

/** A caller waited long enough. The database may be there all the same. */
export class LateAnswerError extends Error {
  override readonly name = 'LateAnswerError'
}

export const NOT_AVAILABLE = 'the history of finished jobs is not available'

/**
 * The database of finished jobs does not answer, so that what only it knows cannot be told now. Clients get 503.
 * `cause` is what it said, for the log.
 */
export class HistoryUnavailableError extends Error {
  override readonly name = 'HistoryUnavailableError'
}

export function isHistoryUnavailable(error: unknown): boolean {
  return error instanceof HistoryUnavailableError
}
