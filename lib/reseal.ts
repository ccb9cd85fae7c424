import { loadScript, runScript } from './lua-script.ts'
import type { RedisClient } from './redis.ts'
import { isSealed, type SealedPlace, type Sealer, UnreadableError } from './sealer.ts'

/** A field of a hash whose value is encrypted, or plain text from before encryption was configured. */
export type SealedField = {
  /** Its key without the tenant's root: `:schedule:<id>`. */
  key: string
  field: string
  place: SealedPlace
  /** The value is the envelope in base64. */
  isText?: boolean
}

/** `unreadable`: their key is not configured, or they were modified. */
export type Resealed = { changed: number; unreadable: number }

/** Fields per script call; each may have megabytes. */
const BLOCK = 50
/** Length of the mark and the key id in base64. */
const TEXT_BEGIN = 6

const findOutdated = loadScript(new URL('./find-outdated.lua', import.meta.url))
const replace = loadScript(new URL('./reseal.lua', import.meta.url))

/** Encrypts with the current key those fields that have another key or none. Idempotent. */
export async function reseal(
  redis: RedisClient,
  sealer: Sealer,
  root: string,
  fields: readonly SealedField[],
): Promise<Resealed> {
  const result = { changed: 0, unreadable: 0 }
  const begin = sealer.envelopeBegin()
  if (begin === null) return result
  for (let at = 0; at < fields.length; at += BLOCK) {
    const block = fields.slice(at, at + BLOCK)
    const words = block.flatMap(({ key, field, isText }) => [key, field, isText ? '1' : ''])
    const textBegin = begin.toString('base64').slice(0, TEXT_BEGIN)
    const found = (await runScript(redis, findOutdated, root, [begin, textBegin, ...words])) as number[]
    for (const number of found) {
      const one = block[number]!
      const old = await redis.hgetBuffer(root + one.key, one.field)
      if (old === null) continue
      try {
        const sealed = sealAgain(sealer, one, old)
        if (sealed === null) continue
        result.changed += (await runScript(redis, replace, root, [one.key, one.field, old, sealed])) as number
      } catch (error) {
        if (!(error instanceof UnreadableError)) throw error
        result.unreadable++
      }
    }
  }
  return result
}

function sealAgain(sealer: Sealer, { place, isText }: SealedField, old: Buffer): Buffer | string | null {
  const envelope = isText ? Buffer.from(old.toString('latin1'), 'base64') : old
  const isOld = isSealed(envelope) && (!isText || !old.toString('latin1').startsWith('"'))
  const sealed = sealer.seal(place, isOld ? sealer.open(place, envelope) : old)
  return isText && sealed !== null ? sealed.toString('base64') : sealed
}
