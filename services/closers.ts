import type { Logger } from 'pino'

/** A running part of a process: its address, and how to close it. */
export type Service = { name: string; url?: string; close(): Promise<void> }

export type Closers = ReturnType<typeof createClosers>

/** Closes everything that was opened, in reverse order. Every closer runs, even if another throws. */
function createClosers(log: Logger) {
  const closers: { name: string; close: () => Promise<unknown> }[] = []
  return {
    add: (name: string, close: () => Promise<unknown>) => closers.push({ name, close }),
    async closeAll(): Promise<void> {
      for (const { name, close } of closers.splice(0).reverse()) {
        try {
          await close()
        } catch (error) {
          log.warn({ err: error }, `closing ${name} failed`)
        }
      }
    },
  }
}

/** Opens several things. If that fails, it closes those that are already open. */
export async function orCloseAll<Opened>(
  log: Logger,
  open: (closers: Closers) => Promise<Opened>,
): Promise<Opened> {
  const closers = createClosers(log)
  try {
    return await open(closers)
  } catch (error) {
    await closers.closeAll()
    throw error
  }
}
