import { LateAnswerError } from './errors.ts'

/** Waits at most `ms` milliseconds for a query. Throws `LateAnswerError` after that; the query itself continues. */
export async function within<T>(ms: number, asked: Promise<T>): Promise<T> {
  const late = Promise.withResolvers<never>()
  const timer = setTimeout(
    () => late.reject(new LateAnswerError(`the database did not answer within ${ms} ms`)),
    ms,
  )
  try {
    return await Promise.race([asked, late.promise])
  } finally {
    clearTimeout(timer)
  }
}
