import { isJsonObject, type JsonObject } from './json.ts'

/** The members of a body that name files, by the type of the call. */
const MEMBERS: Readonly<Record<string, readonly string[]>> = {
  image_edit: ['image', 'mask'],
  transcription: ['file'],
  translation: ['file'],
}

/** What a body names in place of bytes: in this member these files, in this order. */
export type InputFiles = { member: string; ids: string[] }

/** The files that a call takes; none for most types. */
export function listInputFiles(type: string, body: JsonObject): InputFiles[] {
  return (MEMBERS[type] ?? []).flatMap((member) => {
    const ids = [body[member] ?? []].flat().filter((id) => typeof id === 'string')
    return ids.length === 0 ? [] : [{ member, ids }]
  })
}

/** Whether calls of this type go upstream as a form with files. */
export function takesFiles(type: string): boolean {
  return MEMBERS[type] !== undefined
}

/** The file of a member of a result's `data`; null where it names none. */
export function fileIdOf(entry: unknown): string | null {
  return isJsonObject(entry) && typeof entry.file_id === 'string' ? entry.file_id : null
}
