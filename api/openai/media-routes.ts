import multipart from '@fastify/multipart'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import type { JsonObject } from '../../lib/json.ts'
import { makesImages } from '../../providers/endpoints.ts'
import { BASE64_COMPRESSION } from '../compression.ts'
import type { Api, RouteContext } from '../deps.ts'
import { formLimits } from '../files/form-reader.ts'
import { parseRequest } from '../issues.ts'
import type { CreateJob } from '../jobs/create-schema.ts'
import {
  imageBodySchema,
  imageEditBodySchema,
  speechBodySchema,
  transcriptionBodySchema,
  translationBodySchema,
} from '../schemas/bodies.ts'
import { answerCall } from './answer.ts'
import type { Handover } from './answer-whole.ts'
import type { Asked } from './call.ts'
import { readMediaForm } from './media-form.ts'
import { handOverPictures } from './picture-answer.ts'
import { jobAccepted, looseJson, openAiErrorResponses, openAiTags as tags } from './schema.ts'
import { handOverSpeech } from './speech-answer.ts'
import { handOverTranscript } from './transcript-answer.ts'

const binary = (type: string) => ({ [type]: { schema: z.string().meta({ format: 'binary' }) } })

/** Untyped, because results are sent as they are. */
const pictureResponse: unknown = {
  200: {
    description: 'The images.',
    content: looseJson(
      "The provider's list of images, each as `b64_json` or, if requested, as a `url` that is valid for an hour.",
    ),
  },
  202: jobAccepted,
  ...openAiErrorResponses,
}
/** Untyped, for the same reason. */
const transcriptResponse: unknown = {
  200: {
    description: 'The transcript; with `stream: true` its events.',
    content: {
      ...looseJson("The provider's transcript."),
      'text/plain': { schema: z.string().describe('For `response_format` `text`, `srt` and `vtt`.') },
      'text/event-stream': {
        schema: z.string().describe('`transcript.text.delta` events, then `transcript.text.done`.'),
      },
    },
  },
  202: jobAccepted,
  ...openAiErrorResponses,
}
const speechResponse: unknown = {
  200: {
    description: 'The audio; with `stream_format: "sse"` events with pieces of it.',
    content: {
      ...binary('audio/*'),
      'text/event-stream': {
        schema: z.string().describe('`speech.audio.delta` events, then `speech.audio.done`.'),
      },
    },
  },
  202: jobAccepted,
  ...openAiErrorResponses,
}

/**
 * The routes for images and audio of OpenAI's API. Register them with OpenAI's other routes.
 *
 * @param description common description of these calls
 */
export function registerMediaRoutes(app: Api, context: RouteContext, description: string): void {
  app.post(
    '/v1/images/generations',
    {
      config: { access: 'jobs' },
      compress: BASE64_COMPRESSION,
      schema: {
        tags,
        operationId: 'createImage',
        summary: 'Create images',
        description: `The job stores the images as files. ${description}`,
        body: imageBodySchema,
        response: pictureResponse,
      },
    },
    (request, reply) => {
      const handover = handOverPictures(request, 'image', request.body as JsonObject, context.deps)
      return answerCall(request, reply, { type: 'image', body: request.body }, handover, context)
    },
  )

  app.post(
    '/v1/audio/speech',
    {
      config: { access: 'jobs' },
      schema: {
        tags,
        operationId: 'createSpeech',
        summary: 'Create speech',
        description: `The job stores the audio as a file. ${description}`,
        body: speechBodySchema,
        response: speechResponse,
      },
    },
    (request, reply) => {
      const handover = handOverSpeech(request.body as JsonObject, context.deps)
      return answerCall(request, reply, { type: 'speech', body: request.body }, handover, context)
    },
  )

  app.register(async (forms) => registerForms(forms as unknown as Api, context, description))
}

type FormRoute = {
  url: string
  type: CreateJob['type']
  operationId: string
  summary: string
  /** Members of the body that hold files. */
  files: string[]
  schema: z.ZodType
  response: unknown
  handOver: (request: FastifyRequest, body: JsonObject) => Handover
}

/** The routes whose requests are forms with files. In a scope of their own, because their bodies are streams. */
async function registerForms(app: Api, context: RouteContext, description: string): Promise<void> {
  await app.register(multipart, { limits: formLimits })
  const routes: FormRoute[] = [
    {
      url: '/v1/images/edits',
      type: 'image_edit',
      operationId: 'createImageEdit',
      summary: 'Edit images',
      files: ['image', 'mask'],
      schema: imageEditBodySchema,
      response: pictureResponse,
      handOver: (request, body) => handOverPictures(request, 'image_edit', body, context.deps),
    },
    {
      url: '/v1/audio/transcriptions',
      type: 'transcription',
      operationId: 'createTranscription',
      summary: 'Transcribe audio',
      files: ['file'],
      schema: transcriptionBodySchema,
      response: transcriptResponse,
      handOver: (_request, body) => handOverTranscript(body),
    },
    {
      url: '/v1/audio/translations',
      type: 'translation',
      operationId: 'createTranslation',
      summary: 'Translate audio to English text',
      files: ['file'],
      schema: translationBodySchema,
      response: transcriptResponse,
      handOver: (_request, body) => handOverTranscript(body),
    },
  ]
  for (const { url, type, operationId, summary, files, schema, response, handOver } of routes) {
    app.post(
      url,
      {
        config: { access: 'jobs' },
        ...(makesImages(type) ? { compress: BASE64_COMPRESSION } : {}),
        schema: {
          tags,
          operationId,
          summary,
          description: `A form with files, up to ${context.limits.fileBytes} bytes; or JSON with the ids of files. ${description}`,
          consumes: ['multipart/form-data', 'application/json'],
          body: schema,
          response,
        },
        // A form is a stream. The body made from it is validated when it is read.
        validatorCompiler: () => (value: unknown) => ({ value }),
      },
      async (request: FastifyRequest, reply: FastifyReply) => {
        const form = request.isMultipart() ? await readMediaForm(request, files, context) : null
        let isTaken = false
        try {
          const given = form?.body ?? request.body ?? {}
          const body = parseRequest(schema, given, 'body', 'body') as Asked['body'] & JsonObject
          const onTaken = () => {
            isTaken = true
          }
          const asked = { type, body, files: form?.files ?? [], onTaken } as Asked
          return await answerCall(request, reply, asked, handOver(request, body), context)
        } finally {
          if (!isTaken && form !== null) {
            await form
              .discard()
              .catch((error) => request.log.warn({ err: error }, 'removing the files of a request'))
          }
        }
      },
    )
  }
}
