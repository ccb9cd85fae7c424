import type { JsonValue } from '../lib/json.ts'

/** Chunks that arrive within this time after a write are written together. */
const GATHER_MS = 15

/**
 * From this many unwritten chunks on, the provider's stream is not read on. The fastest model takes some seconds for as
 * many.
 */
const MOST_BEHIND = 1_000

/**
 * Writes a stream's chunks in order: the first one at once, because a client waits for it, and the others in groups.
 * `push` never waits. `drained` says when to read on, so that a stream that is faster than the store does not fill the
 * memory. `flush` resolves when all is written. A chunk that cannot be written is missing in the live view only: the
 * job's result does not need it.
 */
export function createDeltaWriter(deps: {
  write: (chunks: JsonValue[]) => Promise<boolean>
  /** The job has ended, or another call has taken it over. */
  onUseless: () => void
  onError: (error: unknown) => void
}) {
  let waiting: JsonValue[] = []
  let timer: NodeJS.Timeout | null = null
  let chain: Promise<void> = Promise.resolve()
  /** Chunks pushed, and not yet written or given up. */
  let behind = 0

  function send(): void {
    if (timer) clearTimeout(timer)
    timer = null
    if (waiting.length === 0) return
    timer = setTimeout(send, GATHER_MS)
    const chunks = waiting
    waiting = []
    chain = chain.then(async () => {
      try {
        if (!(await deps.write(chunks))) deps.onUseless()
      } catch (error) {
        deps.onError(error)
      } finally {
        behind -= chunks.length
      }
    })
  }

  return {
    push(chunk: JsonValue): void {
      waiting.push(chunk)
      behind++
      if (timer === null) send()
    },
    /**
     * Null while there is room. Otherwise it resolves when the waiting chunks are written, or given up after the
     * store's time-out.
     */
    drained(): Promise<void> | null {
      if (behind < MOST_BEHIND) return null
      send()
      return chain
    },
    flush(): Promise<void> {
      send()
      if (timer) clearTimeout(timer)
      timer = null
      return chain
    },
  }
}
