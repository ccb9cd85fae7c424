import type { JsonValue } from '../lib/json.ts'

/** Chunks that arrive within this time after a write are written together. */
const GATHER_MS = 15

/** From this many chunks in memory on, the provider's stream is held back: some seconds of the fastest model. */
const MOST_BEHIND = 1_000

/**
 * Writes a stream's chunks in order: the first at once, because a client waits for it, and the others a few at a time. `push` never
 * waits. `drained` says when to go on reading, so that a stream faster than the store does not fill memory.
 * `flush` resolves when all is written. A chunk that cannot be written is lost only to the live view: the job's result does not need it.
 */
export function createDeltaWriter(deps: {
  write: (chunks: JsonValue[]) => Promise<boolean>
  /** The job ended or runs elsewhere. */
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
    /** Null while there is room; else resolves when what waits is written, or given up within the store's time-out. */
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
