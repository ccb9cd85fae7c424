// The child's half of a conversation over the channel to its parent; child.ts is the other half.

export type Question = { id: number; method: string; argument: unknown }
export type Reply = { id: number; answer?: unknown; error?: string }

/** CPU time of the process since it began, ms. */
export type CpuTime = { cpuMs: number }

/** Answers the parent's questions, `usage` always among them. Ends the process when the parent is gone. */
export function serveParent(methods: Record<string, (argument: never) => unknown> = {}): void {
  const all: Record<string, (argument: never) => unknown> = { ...methods, usage: readCpuTime }
  const reply = (message: Reply) => process.send?.(message)
  process.on('message', async ({ id, method, argument }: Question) => {
    try {
      reply({ id, answer: await all[method]!(argument as never) })
    } catch (error) {
      reply({ id, error: error instanceof Error ? String(error.stack) : String(error) })
    }
  })
  process.on('disconnect', () => process.exit())
  // A process that has nothing else to do may end.
  process.channel?.unref()
}

function readCpuTime(): CpuTime {
  const { user, system } = process.cpuUsage()
  return { cpuMs: (user + system) / 1000 }
}
