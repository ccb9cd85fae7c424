export type Repeating = {
  /** No further turn; resolves when the one under way has ended. */
  stop(): Promise<void>
}

/**
 * Runs a task at once and then every `everyMs`, each turn after the previous one has ended: a slow turn delays the next one, and
 * turns neither overlap nor pile up. Errors of a turn go to `onError`.
 */
export function repeat(
  everyMs: number,
  task: () => Promise<unknown>,
  onError: (error: unknown) => void,
): Repeating {
  let isStopped = false
  let timer: NodeJS.Timeout | undefined
  let turn: Promise<void> = Promise.resolve()

  function begin(): void {
    const startedAt = performance.now()
    turn = (async () => {
      try {
        await task()
      } catch (error) {
        onError(error)
      }
      if (!isStopped) timer = setTimeout(begin, Math.max(0, everyMs - (performance.now() - startedAt)))
    })()
  }
  begin()

  return {
    async stop() {
      isStopped = true
      clearTimeout(timer)
      await turn
    },
  }
}
