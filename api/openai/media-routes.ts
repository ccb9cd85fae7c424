import { z } from 'zod'
import type { JsonObject } from '../../lib/json.ts'
import type { Api, RouteContext } from '../deps.ts'
import { imageBodySchema, speechBodySchema } from '../schemas/bodies.ts'
import { answerCall } from './answer.ts'
import { handOverPictures } from './picture-answer.ts'
import { jobAccepted, looseJson, openAiErrorResponses, openAiTags as tags } from './schema.ts'
import { handOverSpeech } from './speech-answer.ts'

const binary = (type: string) => ({ [type]: { schema: z.string().meta({ format: 'binary' }) } })

/** Untyped, for results go out as they are. */
const pictureResponse: unknown = {
  200: {
    description: 'The pictures.',
    content: looseJson(
      "The provider's list of pictures, each as `b64_json` or, where it was asked for, as a `url` that is good for an hour.",
    ),
  },
  202: jobAccepted,
  ...openAiErrorResponses,
}
const speechResponse: unknown = {
  200: {
    description: 'The sound; with `stream_format: "sse"` events with pieces of it.',
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
 * The routes of pictures and sound that clients of OpenAI know. Register them where the other routes of OpenAI are.
 *
 * @param description what every such call has in common
 */
export function registerMediaRoutes(app: Api, context: RouteContext, description: string): void {
  app.post(
    '/v1/images/generations',
    {
      config: { access: 'jobs' },
      schema: {
        tags,
        operationId: 'createImage',
        summary: 'Create pictures',
        description: `The job keeps the pictures as files. ${description}`,
        body: imageBodySchema,
        response: pictureResponse,
      },
    },
    (request, reply) => {
      const handover = handOverPictures(request, request.body as JsonObject, context.deps)
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
        summary: 'Speak a text',
        description: `The job keeps the sound as a file. ${description}`,
        body: speechBodySchema,
        response: speechResponse,
      },
    },
    (request, reply) => {
      const handover = handOverSpeech(request.body as JsonObject, context.deps)
      return answerCall(request, reply, { type: 'speech', body: request.body }, handover, context)
    },
  )
}
