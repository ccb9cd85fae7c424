import { z } from 'zod'
import type { JsonObject } from '../../lib/json.ts'
import type { Api, RouteContext } from '../deps.ts'
import { sendError } from '../error-replies.ts'
import { ApiError } from '../errors.ts'
import {
  chatBodySchema,
  completionBodySchema,
  embeddingBodySchema,
  moderationBodySchema,
  rerankBodySchema,
} from '../schemas/bodies.ts'
import { createValidatorCompiler } from '../validation.ts'
import { answerCall } from './answer.ts'
import { applyDeployment } from './azure-paths.ts'
import { createChatForm } from './chat-form.ts'
import { createCompletionForm } from './completion-form.ts'
import { registerMediaRoutes } from './media-routes.ts'
import { registerResponseToolRoutes } from './response-tools-routes.ts'
import { registerResponseRoutes } from './responses-routes.ts'
import {
  jobAccepted as accepted,
  looseJson as json,
  openAiErrorResponses,
  openAiTags as tags,
} from './schema.ts'
import { registerStateRoutes } from './state-routes.ts'

const description =
  'The body is sent to the provider unchanged, and its answer and errors are returned unchanged. Each call is a job: ' +
  '`x-job-id` names it and `x-cache` tells where the answer came from. `Prefer: respond-async` answers 202 with the job, ' +
  '`Cache-Control: no-cache` asks for a new answer, `no-store` bypasses the cache, and with an `Idempotency-Key` the ' +
  'same payload is the same job. The job is cancelled when the ' +
  'client disconnects, unless others share it.'

/** Untyped, because results are sent as they are. */
const chatResponse: unknown = {
  200: {
    description: 'The completion; with `stream: true` its chunks.',
    content: {
      ...json("The provider's `chat.completion`."),
      'text/event-stream': {
        schema: z.string().describe('`data:` lines with a chunk each, then `data: [DONE]`.'),
      },
    },
  },
  202: accepted,
  ...openAiErrorResponses,
}
const embeddingResponse: unknown = {
  200: { description: 'The vectors.', content: json("The provider's list of embeddings.") },
  202: accepted,
  ...openAiErrorResponses,
}

/** Untyped, for the same reason. */
function describeAnswer(what: string): unknown {
  return { 200: { description: what, content: json(what) }, 202: accepted, ...openAiErrorResponses }
}

/** Registers the routes of OpenAI's API. They need a scope of their own. */
export function registerOpenAiRoutes(app: Api, context: RouteContext): void {
  app.setValidatorCompiler(createValidatorCompiler({ bodyPrefix: 'body' }))
  app.setErrorHandler((error, request, reply) =>
    sendError(placeParam(error), request, reply, context.deps.server.isUnavailable),
  )

  app.addHook('preValidation', async (request) => applyDeployment(request))

  app.post(
    '/v1/chat/completions',
    {
      config: { access: 'jobs' },
      schema: {
        tags,
        operationId: 'createChatCompletion',
        summary: 'Create a chat completion',
        description,
        body: chatBodySchema,
        response: chatResponse,
      },
    },
    (request, reply) => {
      const body = request.body as JsonObject
      const stream = body.stream === true ? () => createChatForm(body) : null
      return answerCall(request, reply, { type: 'chat', body: request.body }, { stream }, context)
    },
  )

  app.post(
    '/v1/embeddings',
    {
      config: { access: 'jobs' },
      schema: {
        tags,
        operationId: 'createEmbedding',
        summary: 'Create embeddings',
        description,
        body: embeddingBodySchema,
        response: embeddingResponse,
      },
    },
    (request, reply) =>
      answerCall(request, reply, { type: 'embedding', body: request.body }, { stream: null }, context),
  )

  app.post(
    '/v1/completions',
    {
      config: { access: 'jobs' },
      schema: {
        tags,
        operationId: 'createCompletion',
        summary: 'Create a text completion',
        description,
        body: completionBodySchema,
        response: describeAnswer("The provider's `text_completion`; with `stream: true` its chunks."),
      },
    },
    (request, reply) => {
      const body = request.body as JsonObject
      const stream = body.stream === true ? () => createCompletionForm(body) : null
      return answerCall(request, reply, { type: 'completion', body: request.body }, { stream }, context)
    },
  )

  app.post(
    '/v1/moderations',
    {
      config: { access: 'jobs' },
      schema: {
        tags,
        operationId: 'createModeration',
        summary: 'Classify inputs',
        description,
        body: moderationBodySchema,
        response: describeAnswer("The provider's moderation, with a result for each input."),
      },
    },
    (request, reply) =>
      answerCall(request, reply, { type: 'moderation', body: request.body }, { stream: null }, context),
  )

  app.post(
    '/v1/rerank',
    {
      config: { access: 'jobs' },
      schema: {
        tags,
        operationId: 'createRerank',
        summary: 'Order documents by their relevance',
        description: `The API of Cohere, Jina, vLLM and LiteLLM. ${description}`,
        body: rerankBodySchema,
        response: describeAnswer("The provider's `results`, the most relevant first."),
      },
    },
    (request, reply) =>
      answerCall(request, reply, { type: 'rerank', body: request.body }, { stream: null }, context),
  )

  registerMediaRoutes(app, context, description)
  registerResponseToolRoutes(app, context)
  registerStateRoutes(app, context)
  registerResponseRoutes(app, context)
}

/** `param` is a path within the body; messages keep the prefix `body`. */
export function placeParam(error: unknown): unknown {
  if (!(error instanceof ApiError) || error.param === null || !/^body\b/.test(error.param)) return error
  const { code, message, retryAfterSeconds } = error
  return new ApiError(code, message, {
    param: error.param.replace(/^body\.?/, '') || null,
    ...(retryAfterSeconds === null ? {} : { retryAfterSeconds }),
  })
}
