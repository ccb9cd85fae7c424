import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Job } from '../../jobs/job.ts'
import { parseLargeResult } from '../../jobs/job-result.ts'
import { isJsonObject, type JsonObject } from '../../lib/json.ts'
import { answersUrls } from '../../providers/images.ts'
import type { ApiDeps, ApiStore } from '../deps.ts'
import { placeContent, sendWithContents } from '../files/send-base64.ts'
import type { Handover } from './answer-whole.ts'
import { createPictureForm, watchPictures } from './picture-stream.ts'

type PictureDeps = { store: Pick<ApiStore, 'files' | 'fileLinks'> } & Pick<ApiDeps, 'config'>

/** Sends images as OpenAI does: as events, as base64 in the answer, or as URLs that are valid for an hour. */
export function handOverPictures(
  request: FastifyRequest,
  type: 'image' | 'image_edit',
  body: JsonObject,
  deps: PictureDeps,
): Handover {
  if (body.stream === true) {
    const kind = type === 'image' ? 'image_generation' : 'image_edit'
    return { stream: () => createPictureForm(kind), watch: watchPictures(deps) }
  }
  return {
    stream: null,
    async send(reply: FastifyReply, call, job) {
      await parseLargeResult(job)
      const result = job.result ?? {}
      const entries = Array.isArray(result.data) ? result.data.filter(isJsonObject) : []
      if (!answersUrls(modelOf(job), body)) {
        return sendWithContents(
          reply,
          { ...result, data: entries.map(embedContent) },
          call.tenant,
          deps.store,
        )
      }
      const data = await Promise.all(
        entries.map(async ({ file_id: id, content_type: _type, bytes: _bytes, ...others }) =>
          typeof id === 'string' ? { ...(await linkTo(id, call.tenant, request, deps)), ...others } : others,
        ),
      )
      return reply.send({ ...result, data })
    },
  }
}

/** The provider's name for the model that answered. */
function modelOf({ lane }: Job): string {
  return lane.slice(lane.indexOf('/') + 1)
}

/** An entry of a result with its file as base64. */
function embedContent({ file_id: id, content_type: _type, bytes, ...others }: JsonObject): JsonObject {
  if (typeof id !== 'string') return others
  return { b64_json: placeContent({ id, bytes: Number(bytes) }), ...others } as JsonObject
}

async function linkTo(
  id: string,
  tenant: string,
  request: FastifyRequest,
  { store: { fileLinks }, config }: PictureDeps,
): Promise<JsonObject> {
  const token = await fileLinks.create(tenant, id)
  const base = config().server.public_url ?? `${request.protocol}://${request.host}`
  return { url: `${base.replace(/\/+$/, '')}/v1/file-links/${token}` }
}
