import { loadScript, runScript } from './lua-script.ts'
import type { RedisClient } from './redis.ts'
import { isSealed, type SealedPlace, type Sealer, UnreadableError } from './sealer.ts'

/** A field of a hash that holds something encrypted, or plain text from before. */
export type SealedField = {
  /** Its key behind the tenant's root: `:schedule:<id>`. */
  key: string
  field: string
  place: SealedPlace
  /** Its envelope stands there as base64. */
  isText?: boolean
}

/** `unreadable`: the key they are encrypted with is not configured, or they were changed. */
export type Resealed = { changed: number; unreadable: number }

/** Fields that one script looks at: each may have megabytes. */
const BLOCK = 50
/** Characters of base64 that the mark and the id of a key come to. */
const TEXT_BEGIN = 6

const findOutdated = loadScript(new URL('./find-outdated.lua', import.meta.url))
const replace = loadScript(new URL('./reseal.lua', import.meta.url))

/** Encrypts those of the fields with the key of now that are encrypted with another, or not at all. It may be done any number of times. */
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
