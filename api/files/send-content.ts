import { Readable } from 'node:stream'
import type { FastifyReply } from 'fastify'
import type { FileRecord, Files } from '../../files/files.ts'
import { notFound } from '../errors.ts'

/** Sends the bytes of a file, part by part. Reads one part ahead of the client, and none once it has disconnected. Throws `not_found`. */
export async function sendContent(
  reply: FastifyReply,
  files: Pick<Files, 'read'>,
  file: FileRecord,
  contentType: string,
): Promise<FastifyReply> {
  const content = await files.read(file.tenant, file.id)
  if (content === null) throw notFound('file')
  return reply
    .type(contentType)
    .header('content-length', file.bytes)
    .send(Readable.from(content, { highWaterMark: 1 }))
}

/** Reads a whole file; null where it no longer exists. For files that fit into one answer. */
export async function readWhole(
  files: Pick<Files, 'read'>,
  tenant: string,
  id: string,
): Promise<Buffer | null> {
  const content = await files.read(tenant, id)
  if (content === null) return null
  const parts: Buffer[] = []
  // A store may reuse the buffer.
  for await (const part of content) parts.push(Buffer.from(part))
  return Buffer.concat(parts)
}
