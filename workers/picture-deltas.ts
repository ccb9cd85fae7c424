import type { Files } from '../files/files.ts'
import type { HeldFiles } from '../files/held-files.ts'
import { isJsonObject, type JsonValue } from '../lib/json.ts'
import { endingOf, sniffMediaType } from '../lib/media-type.ts'

/** Passes the chunks of a stream on in their order, with their pictures replaced by files. */
export type PictureDeltas = {
  push(chunk: JsonValue): void
  /** Resolves when all chunks are passed on, with the ids of the files that were stored. */
  flush(): Promise<string[]>
}

/** A picture that cannot be stored is missing in the live view only: the result does not need it. */
export function createPictureDeltas(deps: {
  tenant: string
  newId: Files['newId']
  put: HeldFiles['put']
  push: (chunk: JsonValue) => void
  onError: (error: unknown) => void
}): PictureDeltas {
  const stored: string[] = []
  let chain: Promise<void> = Promise.resolve()

  async function store(chunk: JsonValue): Promise<void> {
    if (!isJsonObject(chunk) || typeof chunk.b64_json !== 'string') return deps.push(chunk)
    const { b64_json: text, ...members } = chunk
    const bytes = Buffer.from(text, 'base64')
    const contentType = sniffMediaType(bytes) ?? 'image/png'
    const id = deps.newId()
    await deps.put(deps.tenant, [{ id, filename: `partial.${endingOf(contentType)}`, bytes }])
    stored.push(id)
    deps.push({ ...members, file_id: id, content_type: contentType, bytes: bytes.length })
  }

  return {
    push(chunk) {
      chain = chain.then(() => store(chunk)).catch(deps.onError)
    },
    async flush() {
      await chain
      return stored
    },
  }
}
