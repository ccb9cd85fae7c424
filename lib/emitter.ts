/** Tells of what happened, by a name with its own kind of event: `{ 'job.failed': JobFailed, … }`. */
export type Emit<Events> = {
  emit<Name extends keyof Events & string>(name: Name, event: Events[Name]): void
}

/** Emits events, and hands each to all who listen for its name, at once and in the order in which they came. */
export type Emitter<Events> = Emit<Events> & {
  /** Answers what ends it. */
  on<Name extends keyof Events & string>(name: Name, listener: (event: Events[Name]) => void): () => void
}

/**
 * @param onError told what a listener threw. A fault in the telling does no harm to what is told of: an answer was paid for.
 */
export function createEmitter<Events>(onError: (error: unknown, name: string) => void): Emitter<Events> {
  const listeners = new Map<string, Set<(event: never) => void>>()
  return {
    emit(name, event) {
      for (const listener of listeners.get(name) ?? []) {
        try {
          listener(event as never)
        } catch (error) {
          onError(error, name)
        }
      }
    },
    on(name, listener) {
      const known = listeners.get(name) ?? new Set()
      listeners.set(name, known.add(listener))
      return () => void known.delete(listener)
    },
  }
}
