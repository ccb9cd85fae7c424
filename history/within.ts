import { LateAnswerError } from './errors.ts'

/** Waits for the database only so long, ms. Throws `LateAnswerError`; what was asked goes on all the same. */
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
