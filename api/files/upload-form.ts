import type { MultipartFile } from '@fastify/multipart'
import type { FastifyRequest } from 'fastify'
import { ApiError } from '../errors.ts'
import { readBody } from '../read-body.ts'

export type UploadFormOptions = {
  /** Most bytes of the file. */
  fileBytes: number
  /** Longest silence, in ms. */
  idleTimeout: number
  /** Longest upload altogether, in ms. */
  timeout: number
  /** For the rest of a body that says it is too large, in ms. */
  drainTimeout: number
}

/** A form with one file, read as it arrives. The caller closes it, also after an error. */
export type UploadForm = {
  /** What was sent beside the file: what stood before it, and when the content was read to its end all of it. */
  fields(): Record<string, unknown>
  filename: string
  content: AsyncIterable<Buffer>
  /** Stops reading. What is still sent flows away: closing the connection would cost the client its answer. */
  close(): void
}

/** Boundaries, headers of parts, and fields: what a form may have beside its file. */
const FORM_BYTES = 1024 * 1024
const LONGEST_FILENAME = 512

/** Limits of the parser. It does not limit the file, because it would cut the file off silently. */
export const formLimits = {
  files: 1,
  fields: 16,
  parts: 32,
  fieldNameSize: 100,
  fieldSize: 1024,
  fileSize: Number.POSITIVE_INFINITY,
  headerPairs: 16,
  headerSize: 16 * 1024,
}

/**
 * Reads a form up to its file. Throws `invalid_request` for what is no such form, `payload_too_large`,
 * `request_timeout`; its content throws the same.
 */
export async function openUploadForm(
  request: FastifyRequest,
  options: UploadFormOptions,
): Promise<UploadForm> {
  const { raw } = request
  const declared = request.headers['content-length']
  const most = options.fileBytes + FORM_BYTES
  if (!request.isMultipart()) {
    throw new ApiError('invalid_request', 'expected a form: content-type multipart/form-data', {
      param: 'content-type',
    })
  }
  if (Number(declared ?? 0) > most) {
    await readBody(raw, { limit: most, timeout: options.drainTimeout, declared })
  }

  const fields = new Map<string, unknown>()
  let file: MultipartFile | null = null
  let received = 0
  let failure: ApiError | null = null
  let interrupt: ((error: ApiError) => void) | null = null

  function fail(error: ApiError) {
    failure ??= error
    interrupt?.(failure)
  }
  const tooSlow = () => fail(new ApiError('request_timeout', 'the upload came too slowly'))
  const idle = setTimeout(tooSlow, options.idleTimeout)
  const total = setTimeout(tooSlow, options.timeout)
  const onData = (chunk: Buffer) => {
    idle.refresh()
    received += chunk.length
    if (received > most) fail(tooLarge(options.fileBytes))
  }
  const onEnd = () => clearTimeout(idle)

  /** The promise's outcome, unless the upload fails before. Not a race: that would keep every chunk to the end. */
  function guard<T>(promise: Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (failure !== null) reject(failure)
      interrupt = reject
      promise.then(resolve, (error: unknown) => reject(toFormError(error)))
    })
  }

  const parts = request.parts()
  async function nextFile(): Promise<MultipartFile | null> {
    for (;;) {
      const next = await guard(parts.next())
      if (next.done === true) return null
      const part = next.value
      if (part.type === 'file') return part
      if (part.fieldnameTruncated || part.valueTruncated) {
        throw new ApiError('invalid_request', 'a field of the form is too long')
      }
      fields.set(part.fieldname, part.value)
    }
  }

  async function* readContent(opened: MultipartFile): AsyncGenerator<Buffer> {
    const chunks = opened.file[Symbol.asyncIterator]()
    let bytes = 0
    for (;;) {
      const next = await guard(chunks.next())
      if (next.done === true) break
      const chunk = next.value as Buffer
      bytes += chunk.length
      if (bytes > options.fileBytes) throw tooLarge(options.fileBytes)
      yield chunk
    }
    if (bytes === 0) throw new ApiError('invalid_request', 'file: is empty', { param: 'file' })
    if ((await nextFile()) !== null) throw new ApiError('invalid_request', 'file: expected one file')
  }

  function close() {
    clearTimeout(idle)
    clearTimeout(total)
    raw.off('data', onData).off('end', onEnd)
    raw.unpipe()
    file?.file.destroy()
    raw.resume()
  }

  try {
    const opening = nextFile()
    // Only now: a listener starts the stream, and the parser must be ready.
    raw.on('data', onData).on('end', onEnd)
    file = await opening
    if (file === null || file.fieldname !== 'file') {
      throw new ApiError('invalid_request', 'file: is required (expected one file)', { param: 'file' })
    }
    // Forms write quotes so (WHATWG HTML, multipart/form-data encoding algorithm).
    const filename = (file.filename || 'file').replaceAll('%22', '"')
    if (filename.length > LONGEST_FILENAME) {
      const message = `file: expected a filename of at most ${LONGEST_FILENAME} characters`
      throw new ApiError('invalid_request', message, { param: 'file' })
    }
    return { fields: () => Object.fromEntries(fields), filename, content: readContent(file), close }
  } catch (error) {
    close()
    throw error
  }
}

function tooLarge(limit: number): ApiError {
  return new ApiError('payload_too_large', `file: is larger than ${limit} bytes`, { param: 'file' })
}

/** Everything that the parser throws is a fault of the form or of the connection. */
function toFormError(error: unknown): ApiError {
  if (error instanceof ApiError) return error
  const code = error instanceof Error && 'code' in error ? error.code : null
  switch (code) {
    case 'FST_FILES_LIMIT':
      return new ApiError('invalid_request', 'file: expected one file', { param: 'file' })
    case 'FST_MP_PREMATURE_CLOSE':
      return new ApiError('invalid_request', 'the connection closed during the upload')
    default:
      return new ApiError('invalid_request', 'the form could not be read: it is malformed or incomplete')
  }
}
