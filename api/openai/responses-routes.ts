import type { FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import type { Job } from '../../jobs/job.ts'
import type { JobRequest, Jobs } from '../../jobs/jobs.ts'
import type { JsonObject } from '../../lib/json.ts'
import { stringifyJson } from '../../lib/json-source.ts'
import { tenantOf } from '../auth.ts'
import type { Api, RouteContext } from '../deps.ts'
import { abortOnDisconnect } from '../disconnect.ts'
import { ApiError, notFound } from '../errors.ts'
import { prefersAsync } from '../prefer.ts'
import { answerAsync, answerCall } from './answer.ts'
import type { Handover } from './answer-whole.ts'
import { type Asked, type OpenAiCall, openCall } from './call.ts'
import { describeResponse, isBackground, type ResponseSource, showResult } from './describe-response.ts'
import { inlineConversation } from './inline-conversation.ts'
import { listInputItems } from './input-items.ts'
import { requireOwnConversation } from './own-state.ts'
import { createResponseForm } from './response-form.ts'
import { type ProviderBody, toJobId, toProviderBody, toResponseId } from './response-id.ts'
import {
  createResponseSchema,
  inputItemsQuery,
  responseParams as params,
  retrieveResponseQuery,
} from './responses-schema.ts'
import { jobAccepted, looseJson, openAiErrorResponses, openAiTags as tags } from './schema.ts'
import { streamResponse } from './stream-response.ts'
import { type CallProgress, watchCall } from './watch.ts'
import { watchStored } from './watch-stored.ts'

const response = { description: 'The response.', content: looseJson('A `response` of OpenAI.') }
const streamed = {
  description: 'The response; with `stream: true` its events.',
  content: {
    ...response.content,
    'text/event-stream': {
      schema: z
        .string()
        .describe('Events named by their `type`, with a `sequence_number` from 0 without gaps.'),
    },
  },
}
/** Untyped, because results are sent as they are. */
const createdAnswer: unknown = { 200: streamed, 202: jobAccepted, ...openAiErrorResponses }
const retrievedAnswer: unknown = { 200: streamed, ...openAiErrorResponses }
const responseAnswer: unknown = { 200: response, ...openAiErrorResponses }
const deletedAnswer: unknown = {
  200: { description: 'It was deleted.', content: looseJson('`id`, `object` and `deleted: true`.') },
  ...openAiErrorResponses,
}
const itemsAnswer: unknown = {
  200: { description: 'The request.', content: looseJson('A list of input items.') },
  ...openAiErrorResponses,
}

/** OpenAI's Responses. A response is a job of type `response` with an id of its own. */
export function registerResponseRoutes(app: Api, context: RouteContext): void {
  const { jobs } = context.deps.store

  async function find(request: FastifyRequest, id: string): Promise<JobRequest> {
    const jobId = toJobId(id)
    const found = jobId === null ? null : await jobs.getRequest(tenantOf(request).name, jobId)
    if (found?.job.type !== 'response') throw notFound('response')
    return found
  }

  /** Like `toProviderBody`. For a provider that stores no responses, it inlines the conversation. */
  async function readBody(tenant: string, body: JsonObject): Promise<ProviderBody> {
    const previous = body.previous_response_id
    const lane = context.deps.submission.resolveModel(String(body.model))?.lanes[0]
    if (lane?.kind !== 'anthropic' || typeof previous !== 'string') return toProviderBody(jobs, tenant, body)
    return { body: await inlineConversation(jobs, tenant, body, previous), previousResponseId: previous }
  }

  app.post(
    '/v1/responses',
    {
      config: { access: 'jobs' },
      schema: {
        tags,
        operationId: 'createResponse',
        summary: 'Create a response',
        description:
          'Like `POST /v1/chat/completions`. The `id` is ours: it names the job. With `background: true` the current response is ' +
          'returned at once, continues without its client, and is fetched or streamed later.',
        body: createResponseSchema,
        response: createdAnswer,
      },
    },
    async (request, reply) => {
      const { name: tenant } = tenantOf(request)
      const { body, previousResponseId, source } = await readBody(tenant, request.body as JsonObject)
      await requireOwnConversation(tenant, 'response', body, context.deps)
      const asked: Asked = {
        type: 'response',
        body: body as Asked['body'],
        inBackground: isBackground({ body }),
        ...(previousResponseId === undefined ? {} : { previousResponseId }),
        ...(source === undefined ? {} : { source }),
      }
      const sourceOf = (job: Job) => ({ job, body, previousResponseId: previousResponseId ?? null })
      if (asked.inBackground) return answerBackground(request, reply, asked, sourceOf, context)
      const handover: Handover = {
        stream: body.stream === true ? ({ job }) => createResponseForm(sourceOf(job)) : null,
        render: (job, result) => showResult(sourceOf(job), result),
        watch: body.stream === true ? watchStream : watchCall,
      }
      return answerCall(request, reply, asked, handover, context)
    },
  )

  app.get(
    '/v1/responses/:id',
    {
      config: { access: 'read' },
      // HEAD would open a stream that never ends.
      exposeHeadRoute: false,
      schema: {
        tags,
        operationId: 'getResponse',
        summary: 'Get a response, or follow it',
        description:
          'With `stream=true` its events, while it runs and afterwards; each has the same `sequence_number` whenever it is read.',
        params,
        querystring: retrieveResponseQuery,
        response: retrievedAnswer,
      },
    },
    async (request, reply) => {
      const source = await find(request, request.params.id)
      nameJob(reply, source.job)
      if (request.query.stream !== 'true') return send(reply, describeResponse(source))
      const signal = abortOnDisconnect(reply, context.streams.open(request, reply))
      const after = request.query.starting_after ?? -1
      const { name: tenant } = tenantOf(request)
      return streamResponse(request, reply, { tenant, source, after, signal }, context)
    },
  )

  app.post(
    '/v1/responses/:id/cancel',
    {
      config: { access: 'jobs' },
      schema: {
        tags,
        operationId: 'cancelResponse',
        summary: 'Cancel a response in the background',
        description: 'A response that has ended is returned unchanged.',
        params,
        response: responseAnswer,
      },
    },
    async (request, reply) => {
      const source = await find(request, request.params.id)
      if (!isBackground(source)) {
        throw new ApiError('invalid_request', 'only responses created with background=true can be cancelled')
      }
      const outcome = await jobs.cancel(tenantOf(request).name, source.job.id)
      if (outcome === null) throw notFound('response')
      nameJob(reply, outcome.job)
      return send(reply, describeResponse({ ...source, job: outcome.job }))
    },
  )

  app.delete(
    '/v1/responses/:id',
    {
      config: { access: 'jobs' },
      schema: {
        tags,
        operationId: 'deleteResponse',
        summary: 'Delete a response',
        description: 'Also deletes its job: input, answer and events are removed from the store.',
        params,
        response: deletedAnswer,
      },
    },
    async (request, reply) => {
      const { job } = await find(request, request.params.id)
      if (!(await jobs.remove(tenantOf(request).name, job.id))) throw notFound('response')
      return send(reply, { id: toResponseId(job.id), object: 'response', deleted: true })
    },
  )

  app.get(
    '/v1/responses/:id/input_items',
    {
      config: { access: 'read' },
      schema: {
        tags,
        operationId: 'listInputItems',
        summary: 'List the input items of a response',
        description: 'Its own input, without that of the responses before it.',
        params,
        querystring: inputItemsQuery,
        response: itemsAnswer,
      },
    },
    async (request, reply) => {
      const { job, body } = await find(request, request.params.id)
      const { limit, order, after } = request.query
      const items = listInputItems(body.input, job.id.replace(/^job_/, ''))
      if (order === 'desc') items.reverse()
      const start = after === undefined ? 0 : items.findIndex((item) => item.id === after) + 1
      if (after !== undefined && start === 0) {
        throw new ApiError('invalid_request', 'query.after: is not an item of this response', {
          param: 'query.after',
        })
      }
      const data = items.slice(start, start + limit)
      return send(reply, {
        object: 'list',
        data,
        first_id: data[0]?.id ?? null,
        last_id: data.at(-1)?.id ?? null,
        has_more: start + limit < items.length,
      })
    },
  )
}

/** Nobody waits for the job, so a disconnect does not cancel it. */
async function answerBackground(
  request: FastifyRequest,
  reply: FastifyReply,
  asked: Asked,
  sourceOf: (job: Job) => ResponseSource,
  context: RouteContext,
): Promise<FastifyReply> {
  const isAsync = prefersAsync(request.headers.prefer)
  const isStreamed = asked.body.stream === true && !isAsync
  const { job, tenant } = await openCall(request, asked, isStreamed, context.deps)
  nameJob(reply, job)
  if (isAsync) return answerAsync(reply, job)
  const source = sourceOf(job)
  if (!isStreamed) return send(reply, describeResponse(source))
  const signal = abortOnDisconnect(reply)
  return streamResponse(request, reply, { tenant, source, after: -1, signal }, context)
}

/** Events have the same numbers when a client repeats the request, or reads its response again. */
function watchStream(
  jobs: Jobs,
  { isFresh, job, tenant }: OpenAiCall,
  signal: AbortSignal,
): AsyncGenerator<CallProgress> {
  return watchStored(jobs, tenant, job.id, signal, isFresh ? '' : undefined)
}

function nameJob(reply: FastifyReply, { id, cache }: Job): void {
  reply.headers({ 'x-job-id': id, 'x-cache': cache })
}

/** Bypasses the route's serializer: results are sent unchanged. */
function send(reply: FastifyReply, body: JsonObject): FastifyReply {
  return reply.type('application/json; charset=utf-8').serializer(stringifyJson).send(body)
}
