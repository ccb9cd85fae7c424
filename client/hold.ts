import { sleep } from './sleep.ts'

/** The longest that the server holds an answer, in s. */
const LONGEST_TURN = 60
/** Between two turns of waiting where the first ended early, in ms: the server closes, or something before it is impatient. */
const PAUSE_MS = 200

export type HoldOptions<Answer> = {
  /** Asks the server, which holds its answer for so many seconds at the most. */
  ask: (seconds: number) => Promise<Answer>
  isOver: (answer: Answer) => boolean
  signal?: AbortSignal | undefined
  /** When nobody waits any more, by `performance.now()`: turns end by then. */
  end?: number
  /** How long the next turn may be, in s, where that is not as long as the server lets it be. */
  longestTurn?: () => number
}

/** Asks until the answer says that it is over, or the signal aborts. */
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
