import { isJsonObject, type JsonObject } from './json.ts'

/** The members of a body that name files, by type of call. */
const MEMBERS: Readonly<Record<string, readonly string[]>> = {
  image_edit: ['image', 'mask'],
  transcription: ['file'],
  translation: ['file'],
}

/** The files that a body names instead of containing their bytes: in this member, in this order. */
export type InputFiles = { member: string; ids: string[] }

/** The input files of a call; empty for most types. */
export function listInputFiles(type: string, body: JsonObject): InputFiles[] {
  return (MEMBERS[type] ?? []).flatMap((member) => {
    const ids = [body[member] ?? []].flat().filter((id) => typeof id === 'string')
    return ids.length === 0 ? [] : [{ member, ids }]
  })
}

/** Whether calls of this type are sent to the provider as a form with files. */
export function takesFiles(type: string): boolean {
  return MEMBERS[type] !== undefined
}

/** The file that an element of a result's `data` names; null if it names none. */
export function fileIdOf(entry: unknown): string | null {
  return isJsonObject(entry) && typeof entry.file_id === 'string' ? entry.file_id : null
}
