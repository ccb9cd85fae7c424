import multipart from '@fastify/multipart'
import { z } from 'zod'
import { type FileRecord, type NewFile, StorageFullError } from '../../files/files.ts'
import { OUTPUT_PURPOSE } from '../../files/held-files.ts'
import { mediaTypeOfName } from '../../lib/media-type.ts'
import { tenantOf } from '../auth.ts'
import type { Api, RouteContext } from '../deps.ts'
import { checkId, notFound } from '../errors.ts'
import { parseRequest } from '../issues.ts'
import { refuseWithoutMemory } from '../jobs/refusals.ts'
import { refuseEncodings } from '../json-body.ts'
import { errorResponses, listSchema, toList } from '../schemas/common.ts'
import { formLimits } from './form-reader.ts'
import {
  fileFields,
  fileForm,
  fileSchema,
  filesQuery,
  formatAttachment,
  nestFields,
  presentFile,
} from './schema.ts'
import { sendContent } from './send-content.ts'
import { storageFull } from './storage-full.ts'
import { openUploadForm } from './upload-form.ts'

const tags = ['OpenAI-compatible']
const idParams = z.object({ id: z.string() })

/** Untyped, because the answer is a stream. */
const contentResponse: unknown = {
  200: { content: { 'application/octet-stream': { schema: z.string().meta({ format: 'binary' }) } } },
  ...errorResponses,
}

/** Files with OpenAI's API. Uploads and downloads are streams. */
export async function registerFileRoutes(app: Api, { deps, limits }: RouteContext): Promise<void> {
  const { files } = deps.store
  await app.register(multipart, { limits: formLimits })

  app.post(
    '/v1/files',
    {
      config: { access: 'jobs' },
      schema: {
        tags,
        operationId: 'createFile',
        summary: 'Upload a file',
        description: `For batches; up to ${limits.fileBytes} bytes, read as a stream.`,
        consumes: ['multipart/form-data'],
        body: fileForm,
        response: { 200: fileSchema, ...errorResponses },
      },
      // The body is a stream. Its fields are validated when they are read.
      validatorCompiler: () => (value: unknown) => ({ value }),
    },
    async (request) => {
      refuseEncodings(request.headers['content-encoding'])
      await refuseWithoutMemory(deps)
      const form = await openUploadForm(request, {
        fileBytes: limits.fileBytes,
        idleTimeout: limits.bulkIdleTimeout,
        timeout: limits.bulkTimeout,
        drainTimeout: limits.bodyTimeout,
      })
      try {
        // Fields before the file are checked before the file is stored.
        parseRequest(fileFields.partial(), nestFields(form.fields()), 'body')
        const describe = (createdAt: number): NewFile => {
          const { purpose, expires_after } = parseRequest(fileFields, nestFields(form.fields()), 'body')
          const lifeMs = expires_after ? expires_after.seconds * 1000 : deps.config().files.retain
          return { filename: form.filename, purpose, expiresAt: createdAt + lifeMs }
        }
        return presentFile(await files.create(tenantOf(request).name, describe, form.content))
      } catch (error) {
        throw error instanceof StorageFullError ? storageFull(error) : error
      } finally {
        form.close()
      }
    },
  )

  app.get(
    '/v1/files',
    {
      config: { access: 'read' },
      schema: {
        tags,
        operationId: 'listFiles',
        summary: 'List files',
        querystring: filesQuery,
        response: { 200: listSchema(fileSchema), ...errorResponses },
      },
    },
    async (request) => {
      const { limit, order, after = null, purpose = null } = request.query
      const page = await files.list(tenantOf(request).name, { limit, order, after, purpose })
      return toList(page.files.map(presentFile), page.hasMore)
    },
  )

  async function find(tenant: string, id: string): Promise<FileRecord> {
    const file = await files.get(tenant, checkId(id, 'file'))
    if (file === null) throw notFound('file')
    return file
  }

  app.get(
    '/v1/files/:id',
    {
      config: { access: 'read' },
      schema: {
        tags,
        operationId: 'getFile',
        summary: 'Get a file',
        params: idParams,
        response: { 200: fileSchema, ...errorResponses },
      },
    },
    async (request) => presentFile(await find(tenantOf(request).name, request.params.id)),
  )

  app.get(
    '/v1/files/:id/content',
    {
      config: { access: 'read' },
      schema: {
        tags,
        operationId: 'downloadFile',
        summary: 'Get the content of a file',
        params: idParams,
        response: contentResponse,
      },
    },
    async (request, reply) => {
      const file = await find(tenantOf(request).name, request.params.id)
      reply.header('content-disposition', formatAttachment(file.filename))
      return sendContent(reply, files, file, contentTypeOf(file))
    },
  )

  app.get(
    '/v1/file-links/:token',
    {
      config: { access: 'public' },
      schema: {
        tags,
        operationId: 'openFileLink',
        summary: 'Get an image by its URL',
        description: 'The `url` of an image. It needs no key, and is valid for an hour.',
        params: z.object({ token: z.string() }),
        response: contentResponse,
      },
    },
    async (request, reply) => {
      const found = await deps.store.fileLinks.find(request.params.token)
      const file = found && (await files.get(found.tenant, found.id))
      if (!file) throw notFound('file')
      return sendContent(reply, files, file, contentTypeOf(file))
    },
  )

  app.delete(
    '/v1/files/:id',
    {
      config: { access: 'jobs' },
      schema: {
        tags,
        operationId: 'deleteFile',
        summary: 'Delete a file',
        params: idParams,
        response: {
          200: z.object({ id: z.string(), object: z.literal('file'), deleted: z.literal(true) }),
          ...errorResponses,
        },
      },
    },
    async (request) => {
      const id = checkId(request.params.id, 'file')
      if (!(await files.remove(tenantOf(request).name, id))) throw notFound('file')
      return { id, object: 'file' as const, deleted: true as const }
    },
  )
}

/** The type of a file that Sluice wrote follows from its name. Any other file is plain bytes. */
function contentTypeOf({ purpose, filename }: FileRecord): string {
  return purpose === OUTPUT_PURPOSE ? mediaTypeOfName(filename) : 'application/octet-stream'
}
