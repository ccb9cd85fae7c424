import type { FileRecord } from './files.ts'

/** A record as stored in Redis. */
export type RecordFields = Record<string, string>

/** Other texts could name other keys. */
export function isFileId(id: string): boolean {
  return /^file-[\w-]{1,120}$/.test(id)
}

export function toFields(flat: string[]): RecordFields {
  const fields: RecordFields = {}
  for (let index = 0; index < flat.length; index += 2) fields[flat[index]!] = flat[index + 1]!
  return fields
}

export function readRecord(tenant: string, fields: RecordFields): FileRecord {
  return {
    id: fields.id ?? '',
    tenant,
    filename: fields.filename ?? '',
    purpose: fields.purpose ?? '',
    bytes: Number(fields.bytes),
    createdAt: Number(fields.created_at),
    expiresAt: fields.expires_at ? Number(fields.expires_at) : null,
  }
}

/** Null where there is no record, or where it has expired. */
export function readLiving(tenant: string, fields: RecordFields, time: number): FileRecord | null {
  if (fields.id === undefined) return null
  const record = readRecord(tenant, fields)
  return record.expiresAt !== null && record.expiresAt <= time ? null : record
}
