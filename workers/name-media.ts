import type { ResultFile } from '../jobs/finish.ts'
import type { JsonObject } from '../lib/json.ts'
import { endingOf } from '../lib/media-type.ts'
import type { ProviderSuccess } from '../providers/provider.ts'

/** The result that an answer makes: its bytes become files, whose ids are in the entries of `data`. */
export function nameMedia(
  { body, media }: Pick<ProviderSuccess, 'body' | 'media'>,
  newId: () => string,
): { result: JsonObject; files?: ResultFile[] } {
  if (media === undefined || media.length === 0) return { result: body }
  const data = [...(body.data as JsonObject[])]
  const files = media.map(({ at, bytes, contentType }): ResultFile => {
    const id = newId()
    data[at] = { file_id: id, ...data[at] }
    return { id, filename: `${contentType.split('/')[0]}-${at}.${endingOf(contentType)}`, bytes }
  })
  return { result: { ...body, data }, files }
}
