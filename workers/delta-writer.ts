import type { JsonValue } from '../lib/json.ts'

/** Chunks that come within this time after others were written are written together. */
const GATHER_MS = 15

/**
 * Writes a stream's chunks in order: the first at once, for somebody waits for it, and the others a few at a time. `push` never
 * waits, so the provider's stream is not held up; `flush` resolves when all is written. A chunk that cannot be written is lost to the live view alone: the job's
 * result does not depend on it.
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
      }
    })
  }

  return {
    push(chunk: JsonValue): void {
      waiting.push(chunk)
      if (timer === null) send()
    },
    flush(): Promise<void> {
      send()
      if (timer) clearTimeout(timer)
      timer = null
      return chain
    },
  }
}
