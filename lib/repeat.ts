export type Repeating = {
  /** Starts no further run; resolves when the current one has ended. */
  stop(): Promise<void>
}

/**
 * Runs a task at once and then every `everyMs`. A run begins after the previous one has ended, so a slow run delays the next one, and runs
 * neither overlap nor pile up. Errors of a run go to `onError`.
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
