// The child's half of a conversation over the channel to its parent; child.ts is the other half.

export type Question = { id: number; method: string; argument: unknown }
export type Reply = { id: number; answer?: unknown; error?: string }

/** CPU time of the process since it began, ms, and the memory that it has: all of it, and what is in use of V8's heap. */
export type Usage = { cpuMs: number; rssBytes: number; heapBytes: number }

/** Answers the parent's questions, `usage` always among them. Ends the process when the parent is gone. */
export function serveParent(methods: Record<string, (argument: never) => unknown> = {}): void {
  const all: Record<string, (argument: never) => unknown> = { ...methods, usage: readUsage }
  const reply = (message: Reply) => process.send?.(message)
  process.on('message', async ({ id, method, argument }: Question) => {
    try {
      reply({ id, answer: await all[method]!(argument as never) })
    } catch (error) {
      reply({ id, error: error instanceof Error ? String(error.stack) : String(error) })
    }
  })
  process.on('disconnect', () => process.exit())
  // A process without other work may end.
  process.channel?.unref()
}

function readUsage(): Usage {
  const { user, system } = process.cpuUsage()
  const { rss, heapUsed } = process.memoryUsage()
  return { cpuMs: (user + system) / 1000, rssBytes: rss, heapBytes: heapUsed }
}
