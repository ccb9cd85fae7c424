import type { Logger } from 'pino'

export type Closers = ReturnType<typeof createClosers>

/** Closes what was opened, last first; every closer runs, whatever another throws. */
export function createClosers(log: Logger) {
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
