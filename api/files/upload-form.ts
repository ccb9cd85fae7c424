import type { FastifyRequest } from 'fastify'
import { ApiError } from '../errors.ts'
import { type FormOptions, type FormPart, openForm } from './form-reader.ts'

/** A form with one file, read while it arrives. The caller closes it, also after an error. */
export type UploadForm = {
  /** The fields of the form: those before the file, and all of them once the content is read to its end. */
  fields(): Record<string, unknown>
  filename: string
  content: AsyncIterable<Buffer>
  close(): void
}

/**
 * Reads a form up to its file. Throws `invalid_request` for anything else, `payload_too_large`, `request_timeout`; reading the content
 * throws the same.
 */
export async function openUploadForm(request: FastifyRequest, options: FormOptions): Promise<UploadForm> {
  const form = await openForm(request, options)
  const fields = new Map<string, unknown>()

  async function nextFile(): Promise<Extract<FormPart, { kind: 'file' }> | null> {
    for (;;) {
      const part = await form.next()
      if (part === null || part.kind === 'file') return part
      fields.set(part.name, part.value)
    }
  }

  async function* readContent(content: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    yield* content
    if ((await nextFile()) !== null) throw new ApiError('invalid_request', 'file: expected one file')
  }

  try {
    const file = await nextFile()
    if (file === null || file.name !== 'file') {
      throw new ApiError('invalid_request', 'file: is required (expected one file)', { param: 'file' })
    }
    return {
      fields: () => Object.fromEntries(fields),
      filename: file.filename,
      content: readContent(file.content),
      close: form.close,
    }
  } catch (error) {
    form.close()
    throw error
  }
}
