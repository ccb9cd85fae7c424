/** Emits an event by its name. Each name has its own type: `{ 'job.failed': JobFailed, … }`. */
export type Emit<Events> = {
  emit<Name extends keyof Events & string>(name: Name, event: Events[Name]): void
}

/** Emits events and calls all listeners for their name, synchronously and in the order in which they were added. */
export type Emitter<Events> = Emit<Events> & {
  /** Returns a function that removes the listener. */
  on<Name extends keyof Events & string>(name: Name, listener: (event: Events[Name]) => void): () => void
}

/** @param onError receives what a listener threw. A listener's error must not harm the work that it observes: an answer was paid for. */
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
