import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import type { Server } from 'node:http'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { RUN_VARIABLE } from '../helpers/run-processes.ts'

type Context = {
  method: string
  path: string
  query: Record<string, string>
  status: number
  body: unknown
  params?: Record<string, string>
}
type Next = () => Promise<unknown>
type App = {
  middleware: ((context: Context, next: Next) => Promise<unknown>)[]
  store: { getResourcePath(bucket: string, key: undefined, resource: string): string }
  run(): Promise<{ port: number }>
  httpServer: Server
  reset(): void
}

const load = createRequire(import.meta.url)
const S3rver = load('@20minutes/s3rver') as new (options: object) => App
const authenticate = load('@20minutes/s3rver/lib/middleware/authentication')() as App['middleware'][number]

/** The key that the server knows. */
export const s3Key = { access_key_id: 'S3RVER', secret_access_key: 'S3RVER' }

export type TestS3 = {
  url: string
  bucket: string
  /** The requests, `PUT /bucket/key`, with the names of the query. */
  requests: string[]
  /** Answers this status to the next requests that match, as often as given. */
  fail(matches: (request: string) => boolean, status: number, times?: number): void
  /** The ids of uploads that were neither completed nor aborted. */
  uploads(): Promise<string[]>
  /** Stops answering, until `up`. */
  down(): Promise<void>
  up(): Promise<void>
  close(): Promise<void>
}

/**
 * An S3 server that checks signatures, on a folder of its own. It neither aborts uploads nor lists them; both are
 * added here, behind the same check.
 */
export async function startTestS3(): Promise<TestS3> {
  const directory = await mkdtemp(join(process.env[RUN_VARIABLE] ?? tmpdir(), 's3-'))
  const bucket = 'sluice-test'
  const requests: string[] = []
  const failures: { matches: (request: string) => boolean; status: number; times: number }[] = []
  let port = 0

  const describe = ({ method, path, query }: Context) =>
    `${method} ${path}${Object.keys(query).length > 0 ? `?${Object.keys(query).sort().join('&')}` : ''}`

  async function listUploads(app: App): Promise<{ id: string; key: string }[]> {
    const folder = app.store.getResourcePath(bucket, undefined, 'uploads')
    const ids = await readdir(folder).catch(() => [])
    return Promise.all(ids.map(async (id) => ({ id, key: await readFile(join(folder, id, 'key'), 'utf8') })))
  }

  async function handle(app: App, context: Context, next: Next): Promise<unknown> {
    const request = describe(context)
    requests.push(request)
    const failure = failures.find(({ matches, times }) => times > 0 && matches(request))
    if (failure !== undefined) {
      failure.times--
      context.status = failure.status
      context.body = `<Error><Code>Failing</Code></Error>`
      return
    }
    const isAbort = context.method === 'DELETE' && 'uploadId' in context.query
    const isList = context.method === 'GET' && 'uploads' in context.query
    if (!isAbort && !isList) return next()
    const [, , ...key] = context.path.split('/')
    // What its router would find in the path; the signature covers it.
    context.params = { bucket, ...(key.length > 0 && key[0] !== '' ? { key: key.join('/') } : {}) }
    return authenticate(context, async () => {
      if (isAbort) {
        const folder = app.store.getResourcePath(bucket, undefined, 'uploads')
        await rm(join(folder, context.query.uploadId!), { recursive: true, force: true })
        context.status = 204
        return
      }
      const found = (await listUploads(app)).filter(({ key }) => key.startsWith(context.query.prefix ?? ''))
      const rows = found.map(({ id, key }) => `<Upload><Key>${key}</Key><UploadId>${id}</UploadId></Upload>`)
      context.body = `<ListMultipartUploadsResult>${rows.join('')}</ListMultipartUploadsResult>`
    })
  }

  async function start(): Promise<App> {
    const app = new S3rver({
      ...{ port, address: '127.0.0.1', silent: true, directory },
      configureBuckets: [{ name: bucket }],
    })
    // Before its router, after the part that writes answers as XML.
    app.middleware.splice(-1, 0, (context, next) => handle(app, context, next))
    port = (await app.run()).port
    return app
  }

  async function stop(): Promise<void> {
    if (app === null) return
    const { httpServer } = app
    const closed = new Promise((resolve) => httpServer.close(resolve))
    httpServer.closeAllConnections()
    await closed
    app = null
  }

  let app: App | null = await start()
  return {
    url: `http://127.0.0.1:${port}`,
    bucket,
    requests,
    fail: (matches, status, times = 1) => void failures.push({ matches, status, times }),
    uploads: async () => (app === null ? [] : (await listUploads(app)).map(({ id }) => id)),
    down: stop,
    async up() {
      app ??= await start()
    },
    async close() {
      await stop()
      await rm(directory, { recursive: true, force: true })
    },
  }
}
