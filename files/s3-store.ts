import { FileStoreError, type ObjectStore, type StoredObject, splitObjectName } from './object-store.ts'
import { createS3Client, readCode, type S3Client, type S3Settings } from './s3-client.ts'

/** Up to this size an object is one request; a larger one is a multipart upload with parts of this size. */
const PART_BYTES = 8 * 1024 * 1024
/** Most parts of an upload, so an object may have 78 GiB. */
const MAX_PARTS = 10_000
/** Objects listed at a time. */
const BLOCK = 1000

/** Stores files in an S3 bucket, or in any store with its API: one request for a small object, a multipart upload for a large one. */
export function createS3Store(
  settings: S3Settings,
  options: Parameters<typeof createS3Client>[1],
): ObjectStore & Pick<S3Client, 'close'> {
  const { ask, close } = createS3Client(settings, options)
  const head = settings.prefix === '' ? '' : `${settings.prefix}/`
  const keyOf = (name: string) => head + splitObjectName(name).join('/')
  const unexpected = (what: string) =>
    new FileStoreError(
      's3',
      'away',
      `the bucket ${settings.bucket} (files.s3) gives an unexpected answer: ${what}`,
    )

  async function write(name: string, content: AsyncIterable<Uint8Array>): Promise<void> {
    const key = keyOf(name)
    let uploadId: string | null = null
    let mayHaveOthers = false
    const etags: string[] = []
    try {
      for await (const { bytes, isLast } of cutBlocks(content)) {
        if (isLast && uploadId === null) {
          const { status } = await ask({ method: 'PUT', key, body: bytes })
          if (status !== 200) throw unexpected(`${status} to an upload`)
          return
        }
        if (uploadId === null) {
          const begun = await begin(key)
          uploadId = begun.uploadId
          mayHaveOthers = begun.tries > 1
        }
        if (etags.length === MAX_PARTS) throw new Error('a file has more parts than an upload to S3 may have')
        etags.push(await writePart(key, uploadId, etags.length + 1, bytes))
      }
      await complete(key, uploadId ?? '', etags)
      // If an answer to `begin` was lost, there is an upload without parts that would stay for ever. The object is stored, whether or not
      // this works.
      if (mayHaveOthers) await abortAll(key).catch(() => {})
    } catch (error) {
      // If this fails too, the upload is found by its key later.
      if (uploadId !== null) await abort(key, uploadId).catch(() => {})
      throw error
    }
  }

  async function begin(key: string): Promise<{ uploadId: string; tries: number }> {
    const { body, tries } = await ask({ method: 'POST', key, query: { uploads: '' } })
    const uploadId = readElements(body, 'UploadId')[0]
    if (uploadId === undefined) throw unexpected('an upload without an id')
    return { uploadId, tries }
  }

  async function writePart(key: string, uploadId: string, part: number, body: Buffer): Promise<string> {
    const query = { partNumber: String(part), uploadId }
    const { status, headers } = await ask({ method: 'PUT', key, query, body })
    if (status !== 200 || typeof headers.etag !== 'string')
      throw unexpected(`${status} to a part of an upload`)
    return headers.etag
  }

  async function complete(key: string, uploadId: string, etags: string[]): Promise<void> {
    const parts = etags.map(
      (etag, at) => `<Part><PartNumber>${at + 1}</PartNumber><ETag>${escapeText(etag)}</ETag></Part>`,
    )
    const body = Buffer.from(`<CompleteMultipartUpload>${parts.join('')}</CompleteMultipartUpload>`)
    const { status, body: answer } = await ask({ method: 'POST', key, query: { uploadId }, body })
    if (status === 200 && readElements(answer, 'ETag').length > 0) return
    // The first answer was lost: the upload is gone because it was completed.
    if (status === 404) {
      const found = await ask({ method: 'GET', key, headers: { range: 'bytes=0-0' } })
      if (found.status !== 404) return
    }
    throw unexpected(`${status} ${readCode(answer) ?? ''} to the end of an upload`)
  }

  async function abort(key: string, uploadId: string): Promise<void> {
    await ask({ method: 'DELETE', key, query: { uploadId } })
  }

  async function read(name: string, from: number, length: number): Promise<Buffer | null> {
    if (length === 0) return Buffer.alloc(0)
    const range = `bytes=${from}-${from + length - 1}`
    const { status, headers, body } = await ask({ method: 'GET', key: keyOf(name), headers: { range } })
    if (status === 404) return null
    if (status !== 206 && !(status === 200 && from === 0 && body.length <= length))
      throw unexpected(`${status} to a range`)
    // An object that ends early is damaged. A store that sends less than it has behaves unexpectedly.
    const total = Number(/\/(\d+)$/.exec(String(headers['content-range'] ?? ''))?.[1] ?? 0)
    if (body.length > length || body.length < Math.min(length, total - from))
      throw unexpected('another range')
    return body
  }

  async function remove(name: string): Promise<void> {
    const key = keyOf(name)
    await ask({ method: 'DELETE', key })
    await abortAll(key)
  }

  /** Aborts uploads that were neither completed nor aborted. A store that cannot list them needs a lifecycle rule for that. */
  async function abortAll(key: string): Promise<void> {
    const { body } = await ask({ method: 'GET', key: '', query: { uploads: '', prefix: key } })
    for (const upload of readElements(body, 'Upload')) {
      const uploadId = readElements(upload, 'UploadId')[0]
      if (uploadId !== undefined && readElements(upload, 'Key')[0] === key) await abort(key, uploadId)
    }
  }

  async function* list(folder: string): AsyncGenerator<StoredObject[]> {
    for (let token: string | undefined; ; ) {
      const { status, body } = await ask({
        method: 'GET',
        key: '',
        query: {
          'list-type': '2',
          'max-keys': String(BLOCK),
          prefix: `${keyOf(folder)}/`,
          ...(token === undefined ? {} : { 'continuation-token': token }),
        },
      })
      if (status !== 200) throw unexpected(`${status} to a list`)
      yield readElements(body, 'Contents').map((entry) => ({
        name: (readElements(entry, 'Key')[0] ?? '').slice(head.length),
        modifiedAt: Date.parse(readElements(entry, 'LastModified')[0] ?? ''),
      }))
      token = readElements(body, 'NextContinuationToken')[0]
      if (token === undefined) return
    }
  }

  return {
    write,
    read,
    remove,
    list,
    async check() {
      const query = { 'list-type': '2', 'max-keys': '1', prefix: head }
      const { status } = await ask({ method: 'GET', key: '', query })
      if (status !== 200) throw unexpected(`${status} to a list`)
    },
    close,
  }
}

/** Cuts into blocks of `PART_BYTES`, each with its own memory. The last one is marked and may be empty. */
async function* cutBlocks(
  content: AsyncIterable<Uint8Array>,
): AsyncGenerator<{ bytes: Buffer; isLast: boolean }> {
  let pieces: Uint8Array[] = []
  let size = 0
  for await (const chunk of content) {
    for (let at = 0; at < chunk.length; ) {
      if (size === PART_BYTES) {
        yield { bytes: Buffer.concat(pieces), isLast: false }
        pieces = []
        size = 0
      }
      const piece = chunk.subarray(at, at + PART_BYTES - size)
      pieces.push(piece)
      size += piece.length
      at += piece.length
    }
  }
  yield { bytes: Buffer.concat(pieces), isLast: true }
}

/** The contents of all elements of a name. S3's answers never nest an element in one of the same name. */
function readElements(xml: Buffer | string, name: string): string[] {
  const text = typeof xml === 'string' ? xml : xml.toString()
  const found: string[] = []
  for (let at = 0; ; ) {
    const opened = text.indexOf(`<${name}`, at)
    if (opened === -1) return found
    at = opened + name.length + 1
    // This is a longer name with the same beginning.
    if (!/[\s>]/.test(text.charAt(at))) continue
    const begin = text.indexOf('>', at) + 1
    const end = text.indexOf(`</${name}>`, begin)
    if (begin === 0 || end === -1) return found
    const inner = text.slice(begin, end)
    found.push(inner.includes('<') ? inner : unescapeText(inner))
    at = end
  }
}

const entities: Record<string, string> = { lt: '<', gt: '>', amp: '&', quot: '"', apos: "'" }

function unescapeText(text: string): string {
  return text.replaceAll(/&(?:#(\d+)|#x([0-9a-fA-F]+)|(\w+));/g, (whole, decimal, hex, name) => {
    if (name !== undefined) return entities[name] ?? whole
    return String.fromCodePoint(decimal === undefined ? Number.parseInt(hex, 16) : Number(decimal))
  })
}

function escapeText(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}
