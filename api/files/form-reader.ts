import type { MultipartFile } from '@fastify/multipart'
import type { FastifyRequest } from 'fastify'
import { ApiError } from '../errors.ts'
import { readBody } from '../read-body.ts'

export type FormOptions = {
  /** Most bytes of all its files together. */
  fileBytes: number
  /** Longest silence, ms. */
  idleTimeout: number
  /** Longest upload in total, ms. */
  timeout: number
  /** Time to read and discard a body whose declared length is too large, ms. */
  drainTimeout: number
  /** Limits of the parser; default `formLimits`. */
  limits?: Partial<typeof formLimits>
}

/** One part of a form. The content of a file is read to its end before the next part is requested. */
export type FormPart =
  | { kind: 'field'; name: string; value: string }
  | { kind: 'file'; name: string; filename: string; content: AsyncIterable<Buffer> }

/** A form that is read while it arrives. The caller closes it, also after an error. */
export type FormReader = {
  /** Null: no more parts. Throws `invalid_request`, `payload_too_large`, `request_timeout`, as does a file's content. */
  next(): Promise<FormPart | null>
  /** Stops reading. The rest is read and discarded: closing the connection would cost the client its answer. */
  close(): void
}

/** Bytes of a form besides its files: boundaries, headers of parts, and fields. */
const FORM_BYTES = 1024 * 1024
const MAX_FILENAME = 512

/** Limits of the parser. It does not limit file sizes, because it would cut files off silently. */
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

/** Begins to read a form. Throws `invalid_request` for anything else, and `payload_too_large`. */
export async function openForm(request: FastifyRequest, options: FormOptions): Promise<FormReader> {
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

  let file: MultipartFile | null = null
  let received = 0
  let failure: ApiError | null = null
  let interrupt: ((error: ApiError) => void) | null = null
  let isListening = false

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

  /** Settles like the promise, or rejects when the upload fails. `Promise.race` would keep every chunk until the end. */
  function guard<T>(promise: Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (failure !== null) reject(failure)
      interrupt = reject
      promise.then(resolve, (error: unknown) => reject(toFormError(error, options.limits?.files ?? 1)))
    })
  }

  const parts = request.parts(
    options.limits === undefined ? {} : { limits: { ...formLimits, ...options.limits } },
  )

  async function* readContent(opened: MultipartFile): AsyncGenerator<Buffer> {
    const name = opened.fieldname
    const chunks = opened.file[Symbol.asyncIterator]()
    let bytes = 0
    for (;;) {
      const next = await guard(chunks.next())
      if (next.done === true) break
      const chunk = next.value as Buffer
      bytes += chunk.length
      if (bytes > options.fileBytes) throw tooLarge(options.fileBytes, name)
      yield chunk
    }
    if (bytes === 0) throw new ApiError('invalid_request', `${name}: is empty`, { param: name })
  }

  async function next(): Promise<FormPart | null> {
    const opening = guard(parts.next())
    // Listening starts the stream, so the parser must be ready.
    if (!isListening) raw.on('data', onData).on('end', onEnd)
    isListening = true
    const read = await opening
    if (read.done === true) return null
    const part = read.value
    if (part.type !== 'file') {
      if (part.fieldnameTruncated || part.valueTruncated) {
        throw new ApiError('invalid_request', 'a field of the form is too long')
      }
      return { kind: 'field', name: part.fieldname, value: String(part.value) }
    }
    file = part
    // Forms encode quotes like this (WHATWG HTML, multipart/form-data encoding algorithm).
    const filename = (part.filename || 'file').replaceAll('%22', '"')
    if (filename.length > MAX_FILENAME) {
      const message = `${part.fieldname}: expected a filename of at most ${MAX_FILENAME} characters`
      throw new ApiError('invalid_request', message, { param: part.fieldname })
    }
    return { kind: 'file', name: part.fieldname, filename, content: readContent(part) }
  }

  return {
    next,
    close() {
      clearTimeout(idle)
      clearTimeout(total)
      raw.off('data', onData).off('end', onEnd)
      raw.unpipe()
      file?.file.destroy()
      raw.resume()
    },
  }
}

function tooLarge(limit: number, name = 'file'): ApiError {
  return new ApiError('payload_too_large', `${name}: is larger than ${limit} bytes`, { param: name })
}

/** Every error of the parser is an error of the form or of the connection. */
function toFormError(error: unknown, files: number): ApiError {
  if (error instanceof ApiError) return error
  const code = error instanceof Error && 'code' in error ? error.code : null
  switch (code) {
    case 'FST_FILES_LIMIT':
      return files === 1
        ? new ApiError('invalid_request', 'file: expected one file', { param: 'file' })
        : new ApiError('invalid_request', `expected at most ${files} files`)
    case 'FST_MP_PREMATURE_CLOSE':
      return new ApiError('invalid_request', 'the connection closed during the upload')
    default:
      return new ApiError('invalid_request', 'the form could not be read: it is malformed or incomplete')
  }
}
