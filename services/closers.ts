import type { Logger } from 'pino'

/** A part of a process that runs: how to reach it and how to end it. */
export type Service = { name: string; url?: string; close(): Promise<void> }

export type Closers = ReturnType<typeof createClosers>

/** Closes what was opened, last first; every closer runs, even if another throws. */
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

/** Opens something; if that fails, it closes what was open by then. */
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
