/** An error of the database. `code` is PostgreSQL's SQLSTATE or SQLite's error number; null: the database was not reached. */
export class DatabaseError extends Error {
  override readonly name = 'DatabaseError'
  readonly code: string | null

  constructor(message: string, code: string | null) {
    super(message)
    this.code = code
  }
}

/** The database did not answer in time. It may still be available. */
export class LateAnswerError extends Error {
  override readonly name = 'LateAnswerError'
}

export const NOT_AVAILABLE = 'the history of finished jobs is not available'

/**
 * The database of finished jobs does not answer, so what only it has cannot be read now. Clients get 503.
 * `cause` is the database's error, for the log.
 */
export class HistoryUnavailableError extends Error {
  override readonly name = 'HistoryUnavailableError'
}

/** True for a `HistoryUnavailableError`. */
export function isHistoryUnavailable(error: unknown): boolean {
  return error instanceof HistoryUnavailableError
}
