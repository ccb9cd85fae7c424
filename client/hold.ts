import { sleep } from './sleep.ts'

/** The longest that the server holds an answer, in s. */
const LONGEST_TURN = 60
/**
 * Between two turns of waiting if the first ended early, in ms: the server closes, or a proxy in front of it has a
 * short time-out.
 */
const PAUSE_MS = 200

export type HoldOptions<Answer> = {
  /** Asks the server, which holds its answer for at most so many seconds. */
  ask: (seconds: number) => Promise<Answer>
  isOver: (answer: Answer) => boolean
  signal?: AbortSignal | undefined
  /** The end of the wait, by `performance.now()`: turns end by then. */
  end?: number
  /** How long the next turn may be, in s, if shorter than the server's maximum. */
  longestTurn?: () => number
}

/** Asks until the answer is final, or the signal aborts. */
export async function holdOn<Answer>(options: HoldOptions<Answer>): Promise<Answer> {
  const { ask, isOver, signal, end = Number.POSITIVE_INFINITY, longestTurn = () => LONGEST_TURN } = options
  for (;;) {
    const startedAt = performance.now()
    const seconds = Math.max(0, Math.min(LONGEST_TURN, longestTurn(), (end - startedAt) / 1000))
    const answer = await ask(seconds)
    if (isOver(answer)) return answer
    const isEarly = performance.now() - startedAt < seconds * 1000 - PAUSE_MS
    if (isEarly) await sleep(PAUSE_MS, signal)
    else signal?.throwIfAborted()
  }
}
