import { z } from 'zod'
import type { FileRecord } from '../../files/files.ts'
import { pageQuery } from '../schemas/common.ts'

const seconds = z.number().describe('Unix seconds.')

/** A file in OpenAI's shape. */
export const fileSchema = z
  .object({
    id: z.string(),
    object: z.literal('file'),
    bytes: z.number(),
    created_at: seconds,
    expires_at: seconds.optional(),
    filename: z.string(),
    purpose: z
      .string()
      .describe(
        'The purpose of the upload; `batch_output` for results of a batch, `job_output` for pictures and sound of a job.',
      ),
    status: z.literal('processed').describe('A file is there whole or not at all.'),
  })
  .meta({ id: 'FileObject' })

/** The fields of a form besides its file. */
export const fileFields = z.strictObject({
  purpose: z.enum(['batch', 'vision', 'user_data']),
  expires_after: z
    .strictObject({
      anchor: z.enum(['created_at']),
      seconds: z.coerce.number().int().min(3_600).max(2_592_000),
    })
    .optional()
    .describe('In a form: `expires_after[anchor]` and `expires_after[seconds]`.'),
})

/** The whole form, for the documentation. The file itself is read as a stream, not validated. */
export const fileForm = fileFields.extend({ file: z.string().meta({ format: 'binary' }) })

export const filesQuery = z.object({
  ...pageQuery('file'),
  limit: z.coerce.number().int().min(1).max(10_000).default(10_000),
  order: z.enum(['asc', 'desc']).default('desc').describe('By the time of creation.'),
  purpose: z.string().max(64).optional(),
})

/** Forms name members of an object as `object[member]`. This builds the objects. */
export function nestFields(fields: Record<string, unknown>): Record<string, unknown> {
  const nested = new Map<string, unknown>()
  for (const [name, value] of Object.entries(fields)) {
    const [, object, member] = /^(\w+)\[(\w+)\]$/.exec(name) ?? []
    if (object === undefined || member === undefined) nested.set(name, value)
    else nested.set(object, { ...(nested.get(object) as object | undefined), [member]: value })
  }
  return Object.fromEntries(nested)
}

export function presentFile(file: FileRecord): z.output<typeof fileSchema> {
  return {
    id: file.id,
    object: 'file',
    bytes: file.bytes,
    created_at: Math.floor(file.createdAt / 1000),
    ...(file.expiresAt === null ? {} : { expires_at: Math.floor(file.expiresAt / 1000) }),
    filename: file.filename,
    purpose: file.purpose,
    status: 'processed',
  }
}

/** For `content-disposition`: the name in ASCII for old clients, and in full (RFC 6266, RFC 8187). */
export function formatAttachment(filename: string): string {
  const plain = filename.replaceAll(/[^\x20-\x7e]|["\\%]/g, '_')
  const encoded = encodeURIComponent(filename.toWellFormed()).replaceAll(
    /['()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  )
  return `attachment; filename="${plain}"; filename*=UTF-8''${encoded}`
}
