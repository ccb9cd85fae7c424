import { randomUUID } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** What a request is for. */
export type S3Operation = 'put' | 'begin' | 'part' | 'complete' | 'abort' | 'get' | 'delete' | 'list'

/**
 * What a store may do wrong, as AWS and others do it:
 * - `slow-down`: 503. `request-timeout`: 400 with a code that is over by itself. Neither is carried out.
 * - `reset`: the connection ends in the middle of the request. `lost`: it is carried out, and the connection ends without an answer.
 * - `error-in-200`: 200, then an error in the body. `cut`: half of the answer. `short`: less than was asked for, as if that were all.
 */
export type S3Oddity = 'slow-down' | 'request-timeout' | 'reset' | 'lost' | 'error-in-200' | 'cut' | 'short'

export type OddBucket = {
  objects: Map<string, Buffer>
  /** By upload: its key and its parts. */
  uploads: Map<string, { key: string; parts: Map<number, Buffer> }>
  requests: S3Operation[]
  /** What goes wrong with the next requests of a kind. */
  oddity: { operation: S3Operation; how: S3Oddity; times: number } | null
}

/** An S3 store in memory that makes the mistakes that a test asks for. It checks no signatures: s3rver does. */
export type OddS3 = { url: string; bucket(name: string): OddBucket; close(): Promise<void> }

export async function startOddS3(): Promise<OddS3> {
  const buckets = new Map<string, OddBucket>()
  const bucket = (name: string): OddBucket => {
    const known = buckets.get(name) ?? { objects: new Map(), uploads: new Map(), requests: [], oddity: null }
    buckets.set(name, known)
    return known
  }
  const server = createServer((request, response) => void serve(request, response).catch(() => {}))

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '', 'http://s3')
    const [, name = '', ...rest] = url.pathname.split('/')
    const key = rest.join('/')
    const place = bucket(name)
    const operation = operationOf(request.method ?? '', url.searchParams, key)
    place.requests.push(operation)
    const { oddity } = place
    const isOdd = oddity !== null && oddity.operation === operation && oddity.times > 0
    const how = isOdd ? oddity.how : null
    if (isOdd) oddity.times--
    if (how === 'reset') {
      request.once('data', () => request.socket.destroy())
      request.once('end', () => request.socket.destroy())
      return
    }
    const body = await readAll(request)
    const fail = (status: number, code: string) =>
      void response.writeHead(status).end(`<?xml version="1.0"?>\n<Error><Code>${code}</Code></Error>`)
    if (how === 'slow-down') return fail(503, 'SlowDown')
    if (how === 'request-timeout') return fail(400, 'RequestTimeout')
    if (how === 'error-in-200') {
      // Blanks keep the connection alive until the error is known.
      response.writeHead(200).write('<?xml version="1.0"?>\n   ')
      return void response.end('<Error><Code>InternalError</Code></Error>')
    }
    const answer = carryOut(place, operation, key, url.searchParams, body, request.headers.range)
    if (how === 'lost') return void request.socket.destroy()
    if (how === 'short') answer.body = answer.body.subarray(0, answer.body.length >> 1)
    response.writeHead(answer.status, { ...answer.headers, 'content-length': answer.body.length })
    if (how !== 'cut') return void response.end(answer.body)
    response.write(answer.body.subarray(0, answer.body.length >> 1), () => request.socket.destroy())
  }

  server.listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    bucket,
    async close() {
      const closed = new Promise((resolve) => server.close(resolve))
      server.closeAllConnections()
      await closed
    },
  }
}

function operationOf(method: string, query: URLSearchParams, key: string): S3Operation {
  if (key === '') return 'list'
  if (method === 'POST') return query.has('uploads') ? 'begin' : 'complete'
  if (method === 'PUT') return query.has('partNumber') ? 'part' : 'put'
  if (method === 'DELETE') return query.has('uploadId') ? 'abort' : 'delete'
  return 'get'
}

type Answer = { status: number; headers: Record<string, string>; body: Buffer }

function carryOut(
  { objects, uploads }: OddBucket,
  operation: S3Operation,
  key: string,
  query: URLSearchParams,
  body: Buffer,
  range: string | undefined,
): Answer {
  const answer = (
    status: number,
    text: string | Buffer = '',
    headers: Record<string, string> = {},
  ): Answer => ({
    ...{ status, headers },
    body: Buffer.from(text as string),
  })
  const missing = (code: string) => answer(404, `<Error><Code>${code}</Code></Error>`)
  const upload = uploads.get(query.get('uploadId') ?? '')
  switch (operation) {
    case 'put':
      objects.set(key, body)
      return answer(200, '', { etag: '"etag"' })
    case 'begin': {
      const id = randomUUID()
      uploads.set(id, { key, parts: new Map() })
      return answer(
        200,
        `<InitiateMultipartUploadResult><UploadId>${id}</UploadId></InitiateMultipartUploadResult>`,
      )
    }
    case 'part':
      if (upload === undefined) return missing('NoSuchUpload')
      upload.parts.set(Number(query.get('partNumber')), body)
      return answer(200, '', { etag: `"${query.get('partNumber')}"` })
    case 'complete': {
      if (upload === undefined) return missing('NoSuchUpload')
      const parts = [...upload.parts].sort(([one], [other]) => one - other).map(([, bytes]) => bytes)
      objects.set(key, Buffer.concat(parts))
      uploads.delete(query.get('uploadId') ?? '')
      return answer(200, '<CompleteMultipartUploadResult><ETag>"etag"</ETag></CompleteMultipartUploadResult>')
    }
    case 'abort':
      return uploads.delete(query.get('uploadId') ?? '') ? answer(204) : missing('NoSuchUpload')
    case 'delete':
      objects.delete(key)
      return answer(204)
    case 'get': {
      const object = objects.get(key)
      if (object === undefined) return missing('NoSuchKey')
      const [from = 0, to = 0] = (range ?? '').replace('bytes=', '').split('-').map(Number)
      const content = object.subarray(from, to + 1)
      const last = from + content.length - 1
      return answer(206, content, { 'content-range': `bytes ${from}-${last}/${object.length}` })
    }
    case 'list': {
      const prefix = query.get('prefix') ?? ''
      const found = [...uploads].filter((one) => one[1].key.startsWith(prefix))
      const entries = found.map(
        ([id, one]) => `<Upload><Key>${one.key}</Key><UploadId>${id}</UploadId></Upload>`,
      )
      return answer(200, `<ListMultipartUploadsResult>${entries.join('')}</ListMultipartUploadsResult>`)
    }
  }
}

async function readAll(request: IncomingMessage): Promise<Buffer> {
  const pieces: Buffer[] = []
  for await (const piece of request) pieces.push(piece as Buffer)
  return Buffer.concat(pieces)
}
