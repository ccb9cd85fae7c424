import { setTimeout as sleep } from 'node:timers/promises'
import type { Files } from '../files/files.ts'
import { PART_BYTES } from '../files/parts.ts'
import type { JsonValue } from '../lib/json.ts'
import type { AudioPiece } from '../providers/provider.ts'

/** Pieces that arrive within this time after a write are written together, ms. */
const GATHER_MS = 15
/** From this many unwritten bytes on, the provider's stream is not read on. */
const MOST_BEHIND = 4 * 1024 * 1024
/** Parts that a crash leaves behind expire after this, ms. */
const TTL_MS = 3_600_000

/**
 * Passes a sound on while it arrives, to the client that waits for it. The bytes are stored as parts of a file that is
 * never sealed, and the job's chunks say where, because events hold no bytes. A piece that cannot be written is missing
 * in the live view only: the client gets it from the file of the result.
 */
export type SoundPieces = {
  push(piece: AudioPiece): void
  /** Null while there is room. Otherwise it resolves when the waiting bytes are written. */
  drained(): Promise<void> | null
  /** Resolves when all pieces are passed on. */
  flush(): Promise<void>
  /** Deletes the parts: the result has its own file, or there is no result. */
  discard(): Promise<void>
}

export function createSoundPieces(deps: {
  tenant: string
  files: Pick<Files, 'newId' | 'writePart' | 'discard'>
  push: (chunk: JsonValue) => void
  onError: (error: unknown) => void
}): SoundPieces {
  const { tenant, files } = deps
  const id = files.newId()
  let waiting: Buffer[] = []
  let behind = 0
  let from = 0
  let parts = 0
  let contentType = ''
  let writing: Promise<void> | null = null
  let isEnding = false

  async function writeAll(): Promise<void> {
    while (waiting.length > 0) {
      const bytes = Buffer.concat(waiting)
      waiting = []
      for (let at = 0; at < bytes.length; at += PART_BYTES)
        await writeOne(bytes.subarray(at, at + PART_BYTES))
      behind -= bytes.length
      if (!isEnding) await sleep(GATHER_MS)
    }
    writing = null
  }

  async function writeOne(bytes: Buffer): Promise<void> {
    const part = parts++
    const chunk = { type: 'speech.audio.delta', from, bytes: bytes.length, content_type: contentType }
    from += bytes.length
    try {
      await files.writePart(tenant, id, part, bytes, TTL_MS)
      deps.push({ ...chunk, live_id: id, part })
    } catch (error) {
      deps.onError(error)
    }
  }

  return {
    push(piece) {
      contentType = piece.contentType
      waiting.push(piece.bytes)
      behind += piece.bytes.length
      writing ??= writeAll()
    },
    drained: () => (behind < MOST_BEHIND ? null : writing),
    async flush() {
      isEnding = true
      await writing
    },
    async discard() {
      if (parts > 0) await files.discard(tenant, id).catch(deps.onError)
    },
  }
}
