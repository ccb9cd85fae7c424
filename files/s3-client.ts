import { hash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { AwsV4Signer } from 'aws4fetch'
import { Agent, type Dispatcher, EnvHttpProxyAgent, request } from 'undici'
import { type ProxySettings, toUndiciProxy } from '../lib/proxy.ts'
import { FileStoreError } from './object-store.ts'

/** Tries of one request, and the wait before the second, doubled before each further one, ms. */
const TRIES = 3
const REST_MS = 250
const TIMES_MS = { connect: 5_000, silence: 30_000, request: 120_000 }
/** After the store did not answer, requests fail at once for this long, ms, so that none pile up. */
const AWAY_MS = 1_000
/** Most bytes of an error answer that are read. */
const MOST_ERROR = 64 * 1024

export type S3Settings = {
  bucket: string
  /** Default: AWS in this region. */
  endpoint?: string | undefined
  region: string
  /** Prefix of all keys; may be empty. */
  prefix: string
  access_key_id: string
  secret_access_key: string
}

export type S3Request = {
  method: 'GET' | 'PUT' | 'POST' | 'DELETE'
  /** Empty for the bucket itself. */
  key: string
  query?: Record<string, string>
  headers?: Record<string, string>
  body?: Uint8Array
}

export type S3Answer = {
  status: number
  headers: Dispatcher.ResponseData['headers']
  body: Buffer
  /** Number of tries: earlier ones may have succeeded without their answers arriving. */
  tries: number
}

/** 4xx codes that are worth a retry (Amazon S3, "Error responses"; the SDKs retry them). */
const PASSING_CODES = new Set([
  'RequestTimeout',
  'OperationAborted',
  'SlowDown',
  'Throttling',
  'ThrottlingException',
])

export type S3Client = {
  /**
   * Sends a request, with retries where these may help. Returns a 2xx, a 404 for a missing object, or a 501. Throws `FileStoreError` for
   * the rest, also for a missing bucket.
   */
  ask(asked: S3Request): Promise<S3Answer>
  close(): Promise<void>
}

/** The status and S3's code of an error answer. */
class S3AnswerError extends Error {
  override readonly name = 'S3AnswerError'
  readonly status: number
  readonly code: string | null

  constructor(status: number, code: string | null) {
    super(`S3 answered ${status}${code === null ? '' : ` ${code}`}`)
    this.status = status
    this.code = code
  }
}

/**
 * Creates a client for one bucket, with path-style URLs, which every store of this API accepts. Each request is signed with its content, so
 * the store detects changes on the way.
 *
 * @param now Unix ms, for the signatures
 */
export function createS3Client(
  settings: S3Settings,
  { proxy, now }: { proxy: ProxySettings | null; now: () => number },
): S3Client {
  const { bucket, region } = settings
  const endpoint = (settings.endpoint ?? `https://s3.${region}.amazonaws.com`).replace(/\/+$/, '')
  const where = `the bucket ${bucket} (files.s3)`
  const times = {
    connect: { timeout: TIMES_MS.connect },
    headersTimeout: TIMES_MS.silence,
    bodyTimeout: TIMES_MS.silence,
  }
  const dispatcher: Dispatcher =
    proxy === null ? new Agent(times) : new EnvHttpProxyAgent({ ...times, ...toUndiciProxy(proxy) })
  /** Signing keys by day. */
  const signingKeys = new Map<string, ArrayBuffer>()
  let away: { error: FileStoreError; until: number } | null = null

  async function send({
    method,
    key,
    query = {},
    headers = {},
    body,
  }: S3Request): Promise<Omit<S3Answer, 'tries'>> {
    const url = new URL(`${endpoint}/${bucket}${key === '' ? '' : `/${key}`}`)
    for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value)
    if (signingKeys.size > 100) signingKeys.clear()
    const signed = await new AwsV4Signer({
      ...{ method, url: url.href, region, service: 's3', cache: signingKeys },
      accessKeyId: settings.access_key_id,
      secretAccessKey: settings.secret_access_key,
      headers: { ...headers, 'x-amz-content-sha256': hash('sha256', body ?? '') },
      datetime: new Date(now()).toISOString().replaceAll(/[:-]|\.\d{3}/g, ''),
    }).sign()
    const answer = await request(signed.url, {
      ...{ method, dispatcher },
      headers: Object.fromEntries(signed.headers),
      ...(body === undefined ? {} : { body }),
      signal: AbortSignal.timeout(TIMES_MS.request),
    })
    const content = Buffer.from(await answer.body.arrayBuffer())
    const { statusCode: status } = answer
    // A slow operation is answered with 200 first; a later error is in the body ("CompleteMultipartUpload").
    const mayBeError = status >= 300 || method === 'POST'
    const code = mayBeError ? readCode(content) : null
    if (status < 300 && code !== null) throw new S3AnswerError(status, code)
    if (status >= 300 && status !== 501 && (status !== 404 || code === 'NoSuchBucket')) {
      throw new S3AnswerError(status, code)
    }
    return { status, headers: answer.headers, body: content }
  }

  function describe(error: unknown): FileStoreError {
    const cause = { cause: error }
    if (!(error instanceof S3AnswerError))
      return new FileStoreError('s3', 'away', `${where} does not answer`, cause)
    const { status, code } = error
    const shown = code === null ? String(status) : `${status} ${code}`
    if (code === 'NoSuchBucket') {
      return new FileStoreError('s3', 'missing', `${where} does not exist at this endpoint`, cause)
    }
    if (status === 507 || code === 'QuotaExceeded') {
      return new FileStoreError('s3', 'full', `${where} has no room (${shown})`, cause)
    }
    if (status >= 300 && status < 400) {
      const message = `${where} is elsewhere (${shown}): correct files.s3.region and files.s3.endpoint`
      return new FileStoreError('s3', 'refused', message, cause)
    }
    if (status === 401 || status === 403) {
      return new FileStoreError('s3', 'refused', `${where} refuses the request (${shown})`, cause)
    }
    return new FileStoreError('s3', 'away', `${where} answers with an error (${shown})`, cause)
  }

  return {
    async ask(asked) {
      if (away !== null && performance.now() < away.until) throw away.error
      for (let attempt = 1; ; attempt++) {
        try {
          const answer = await send(asked)
          away = null
          return { ...answer, tries: attempt }
        } catch (error) {
          if (!mayPass(error) || attempt === TRIES) {
            const described = describe(error)
            if (described.fault === 'away') away = { error: described, until: performance.now() + AWAY_MS }
            throw described
          }
          await sleep(REST_MS * 2 ** (attempt - 1))
        }
      }
    },
    close: () => dispatcher.close(),
  }
}

/** Whether a retry may help. */
function mayPass(error: unknown): boolean {
  if (!(error instanceof S3AnswerError)) return true
  const { status, code } = error
  if (status < 300 || status === 408 || status === 429) return true
  if (status >= 500) return status !== 507
  return status >= 400 && code !== null && PASSING_CODES.has(code)
}

/** S3's code of an error, from a small XML document. */
export function readCode(body: Buffer): string | null {
  return (
    /<Error>[\s\S]*?<Code>([A-Za-z0-9.]{1,64})<\/Code>/.exec(body.toString('utf8', 0, MOST_ERROR))?.[1] ??
    null
  )
}
