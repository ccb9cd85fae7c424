import type { FastifyRequest } from 'fastify'
import { z } from 'zod'
import type { JsonObject } from '../../lib/json.ts'
import { withMembers } from '../../lib/json-source.ts'
import { countPrompt } from '../../providers/count-tokens.ts'
import { tenantOf } from '../auth.ts'
import type { Api, RouteContext } from '../deps.ts'
import { abortOnDisconnect } from '../disconnect.ts'
import { sendError } from '../error-replies.ts'
import { listPermitted, resolvePermitted } from '../jobs/permitted-models.ts'
import { answerCall } from '../openai/answer.ts'
import { describeFailure } from '../openai/failure.ts'
import { modelNotFound } from '../openai/missing-model.ts'
import { placeParam } from '../openai/routes.ts'
import { jobAccepted, looseJson } from '../openai/schema.ts'
import { messageBodySchema } from '../schemas/bodies.ts'
import { createValidatorCompiler } from '../validation.ts'
import { registerMessageBatchRoutes } from './batches-routes.ts'
import { anthropicErrors, shapeApiError, shapeError, anthropicTags as tags } from './errors.ts'
import { createMessageForm } from './message-form.ts'

/** Untyped, because results are sent as they are. */
const messageResponse: unknown = {
  200: {
    description: 'The message; with `stream: true` its events.',
    content: {
      ...looseJson("Anthropic's `message`."),
      'text/event-stream': { schema: z.string().describe('Events from `message_start` to `message_stop`.') },
    },
  },
  202: jobAccepted,
  ...anthropicErrors,
}

/** Registers the routes of Anthropic's API. They need a scope of their own. */
export function registerAnthropicRoutes(app: Api, context: RouteContext): void {
  const { deps } = context
  app.setValidatorCompiler(createValidatorCompiler({ bodyPrefix: 'body' }))
  app.setErrorHandler((error, request, reply) =>
    sendError(
      placeParam(error),
      request,
      reply.header('request-id', request.id),
      deps.server.isUnavailable,
      shapeApiError,
    ),
  )
  app.addHook('onSend', (request, reply, payload, done) => {
    reply.header('request-id', request.id)
    done(null, payload)
  })

  app.post(
    '/v1/messages',
    {
      config: { access: 'jobs' },
      schema: {
        tags,
        operationId: 'createMessage',
        summary: 'Create a message',
        description:
          'Lanes of kind `anthropic` get the body as it stands, and their answer, events and errors come back as they are; for other ' +
          'lanes it is mapped to a chat completion and back. Each call is a job: `x-job-id` names it.',
        body: messageBodySchema,
        response: messageResponse,
      },
    },
    (request, reply) => {
      const body = withBetas(request)
      const stream = body.stream === true ? () => createMessageForm(request.id) : null
      return answerCall(request, reply, { type: 'message', body } as never, { stream, shapeError }, context)
    },
  )

  registerMessageBatchRoutes(app, context)

  app.post(
    '/v1/messages/count_tokens',
    {
      config: { access: 'jobs' },
      schema: {
        tags,
        operationId: 'countMessageTokens',
        summary: 'Count the tokens of a message',
        description:
          'Lanes of kind `anthropic` ask their provider, which bills nothing for it. For other lanes it is an estimate from the length of ' +
          'what the model reads.',
        body: messageBodySchema.omit({ max_tokens: true, stream: true }),
        response: { 200: z.object({ input_tokens: z.int() }), ...anthropicErrors },
      },
    },
    async (request, reply) => {
      const body = withBetas(request)
      const model = String(body.model)
      const tenant = tenantOf(request)
      const lane = resolvePermitted(tenant, model, deps).lanes[0]
      if (lane === undefined) throw modelNotFound(model, listPermitted(tenant, deps), 'model')
      const answer = await deps.providers.countTokens(lane, body, abortOnDisconnect(reply))
      if (answer === null) return { input_tokens: countPrompt('message', body) }
      if (answer.ok) return { input_tokens: Number(answer.body.input_tokens) }
      const { code, message, status, providerError } = answer
      const failure = describeFailure({
        code,
        message,
        provider_status: status,
        retryable: answer.class !== 'final',
        ...(providerError === undefined ? {} : { provider_error: providerError }),
      })
      return reply.code(failure.status).send(shapeError(failure, request.id) as never)
    },
  )
}

/** Adds the betas of the client's header to the body: they change the answer, so they are part of the request. */
function withBetas(request: FastifyRequest): JsonObject {
  const body = request.body as JsonObject
  const header = request.headers['anthropic-beta']
  if (header === undefined || body.anthropic_beta !== undefined) return body
  const names = [header]
    .flat()
    .flatMap((text) => text.split(','))
    .map((name) => name.trim())
    .filter((name) => name !== '')
  return names.length === 0 ? body : withMembers(body, { anthropic_beta: names })
}
