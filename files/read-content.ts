import type { RedisClient } from '../lib/redis.ts'
import { isSealed, type SealedPlace, type Sealer } from '../lib/sealer.ts'
import type { FileObjects, PartSize } from './objects.ts'
import { decodePart } from './parts.ts'
import { isFileId, readLiving } from './record.ts'

/** Typical size of a piece of audio that is read while it arrives. */
const USUAL_PIECE_BYTES = 64 * 1024
const REMOVED = 'the file was removed while it was read'

/** Reads the content of files, from their parts in Redis or from their objects. */
export function createContentReader(deps: {
  redis: RedisClient
  sealer: Sealer
  objects: Pick<FileObjects, 'read'>
  keyOf: (tenant: string, id: string) => string
  placeOf: (tenant: string, id: string, part: number) => SealedPlace
  /** Unix ms by Redis' clock. */
  readTime: () => Promise<number>
}) {
  const { redis, sealer, objects, keyOf, placeOf, readTime } = deps

  async function read(tenant: string, id: string, from = 0): Promise<AsyncIterable<Uint8Array> | null> {
    if (!isFileId(id)) return null
    const [fields, time] = await Promise.all([redis.hgetall(keyOf(tenant, id)), readTime()])
    const file = readLiving(tenant, fields, time)
    if (file === null) return null
    const parts = await readSizes(tenant, id, Number.POSITIVE_INFINITY)
    if (parts.reduce((sum, { size }) => sum + size.plain, 0) !== file.bytes) throw new Error(REMOVED)
    if (fields.object === undefined) return readParts(tenant, id, parts, from)
    return objects.read(tenant, id, { object: fields.object, sizes: parts.map(({ size }) => size) }, from)
  }

  /** The sizes of the written parts among the first `count`, in order. */
  async function readSizes(
    tenant: string,
    id: string,
    count: number,
  ): Promise<{ part: number; size: PartSize }[]> {
    const sizes = await redis.hgetall(`${keyOf(tenant, id)}:sizes`)
    return Object.entries(sizes)
      .map(([part, text]) => {
        const [plain, stored] = text.split(' ').map(Number)
        return { part: Number(part), size: { plain: plain ?? 0, stored: stored ?? 0 } }
      })
      .filter(({ part }) => part < count)
      .sort((one, other) => one.part - other.part)
  }

  async function* readParts(
    tenant: string,
    id: string,
    parts: { part: number; size: PartSize }[],
    from: number,
  ) {
    let skip = from
    for (const { part, size } of parts) {
      if (skip >= size.plain) {
        skip -= size.plain
        continue
      }
      const content = await readPart(tenant, id, part, size.plain)
      if (content === null) throw new Error(REMOVED)
      yield content.subarray(skip)
      skip = 0
    }
  }

  /** @param bytes size of the part; absent: unknown */
  async function readPart(
    tenant: string,
    id: string,
    part: number,
    bytes = USUAL_PIECE_BYTES,
  ): Promise<Uint8Array | null> {
    if (!isFileId(id)) return null
    const stored = await redis.getBuffer(`${keyOf(tenant, id)}:${part}`)
    if (stored === null) return null
    return decodePart(isSealed(stored) ? sealer.open(placeOf(tenant, id, part), stored) : stored, bytes)
  }

  return { read, readSizes, readParts, readPart }
}
