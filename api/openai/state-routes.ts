import type { FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import { listLanes } from '../../config/lanes.ts'
import { permittedLanes } from '../../config/model-access.ts'
import { isStateId } from '../../jobs/provider-state.ts'
import type { JsonObject } from '../../lib/json.ts'
import { stringifyJson } from '../../lib/json-source.ts'
import { keepsState } from '../../providers/state-requests.ts'
import { tenantOf } from '../auth.ts'
import type { Api, RouteContext } from '../deps.ts'
import { abortOnDisconnect } from '../disconnect.ts'
import { ApiError, notFound } from '../errors.ts'
import { refuseWithoutMemory } from '../jobs/refusals.ts'
import { passOn } from './pass-on.ts'
import { looseJson, openAiErrorResponses, openAiTags as tags } from './schema.ts'

/** Kinds of providers in the order in which they are chosen for new conversations. */
const ORDER = ['openai', 'azure-openai', 'openai-compatible']

type StateRoute = {
  method: 'GET' | 'POST' | 'DELETE'
  path: string
  operationId: string
  summary: string
  answer: string
}

const conversationRoutes: StateRoute[] = [
  {
    method: 'GET',
    path: '',
    operationId: 'getConversation',
    summary: 'Get a conversation',
    answer: 'A `conversation`.',
  },
  {
    method: 'POST',
    path: '',
    operationId: 'updateConversation',
    summary: 'Change the metadata of a conversation',
    answer: 'A `conversation`.',
  },
  {
    method: 'DELETE',
    path: '',
    operationId: 'deleteConversation',
    summary: 'Delete a conversation',
    answer: '`id`, `object` and `deleted: true`.',
  },
  {
    method: 'POST',
    path: '/items',
    operationId: 'createConversationItems',
    summary: 'Add items to a conversation',
    answer: 'A list of items.',
  },
  {
    method: 'GET',
    path: '/items',
    operationId: 'listConversationItems',
    summary: 'List the items of a conversation',
    answer: 'A list of items.',
  },
  {
    method: 'GET',
    path: '/items/:item',
    operationId: 'getConversationItem',
    summary: 'Get an item of a conversation',
    answer: 'An item.',
  },
  {
    method: 'DELETE',
    path: '/items/:item',
    operationId: 'deleteConversationItem',
    summary: 'Delete an item of a conversation',
    answer: 'The `conversation`.',
  },
]

const completionRoutes: StateRoute[] = [
  {
    method: 'GET',
    path: '',
    operationId: 'getChatCompletion',
    summary: 'Get a stored chat completion',
    answer: 'A `chat.completion`.',
  },
  {
    method: 'POST',
    path: '',
    operationId: 'updateChatCompletion',
    summary: 'Change the metadata of a stored chat completion',
    answer: 'A `chat.completion`.',
  },
  {
    method: 'DELETE',
    path: '',
    operationId: 'deleteChatCompletion',
    summary: 'Delete a stored chat completion',
    answer: '`id`, `object` and `deleted: true`.',
  },
  {
    method: 'GET',
    path: '/messages',
    operationId: 'listChatCompletionMessages',
    summary: 'List the messages of a stored chat completion',
    answer: 'A list of messages.',
  },
]

const describe = (answer: string): unknown => ({
  200: { description: answer, content: looseJson(answer) },
  ...openAiErrorResponses,
})
const notKnown = 'no such %: it is unknown here, or was last used more than 30 days ago'

/**
 * What providers store for their clients: conversations, and completions created with `store: true`. Requests are sent to the provider that
 * has the object. An id belongs to the tenant that created it; for other tenants it does not exist.
 */
export function registerStateRoutes(app: Api, { deps }: RouteContext): void {
  const { state: providerState, requests: stateRequests } = deps.providers

  app.post(
    '/v1/conversations',
    {
      config: { access: 'jobs' },
      schema: {
        tags,
        operationId: 'createConversation',
        summary: 'Create a conversation',
        description:
          'At the provider that `x-provider` names, or else at the first one of kind `openai`, `azure-openai` or `openai-compatible` whose ' +
          'models the key may call. It does not count towards the limits of a lane.',
        headers: z.looseObject({ 'x-provider': z.string().max(64).optional() }),
        body: z.looseObject({}).nullish(),
        response: describe('A `conversation`.'),
      },
    },
    async (request, reply) => {
      const { name: tenant } = tenantOf(request)
      const provider = chooseProvider(request)
      await refuseWithoutMemory(deps)
      const answer = await stateRequests.ask({
        ...{ provider, method: 'POST', path: '/conversations', search: '' },
        body: stringifyJson((request.body ?? {}) as JsonObject),
        signal: abortOnDisconnect(reply),
      })
      if (answer.ok && isStateId(answer.body.id))
        await providerState.remember(tenant, answer.body.id, provider)
      return passOn(reply, answer)
    },
  )

  function chooseProvider(request: FastifyRequest): string {
    const { models } = tenantOf(request)
    const allowed = new Set(
      listLanes(deps.config())
        .filter((lane) => permittedLanes(models, lane.id, [lane]).length > 0)
        .map(({ provider }) => provider),
    )
    const providers = Object.entries(deps.config().providers).filter(
      ([name, { kind, models: own }]) =>
        keepsState(kind) && (allowed.has(name) || (models === undefined && '*' in own)),
    )
    const asked = request.headers['x-provider']
    if (asked !== undefined) {
      if (providers.some(([name]) => name === asked)) return String(asked)
      throw new ApiError(
        'invalid_request',
        'x-provider: is not a provider that stores conversations for you',
        {
          param: 'x-provider',
        },
      )
    }
    const [first] = providers.sort(
      ([, one], [, other]) => ORDER.indexOf(one.kind) - ORDER.indexOf(other.kind),
    )
    if (first !== undefined) return first[0]
    throw new ApiError('not_found', 'none of your providers stores conversations')
  }

  function add(
    root: string,
    what: 'conversation' | 'chat completion',
    { method, path, operationId, summary, answer }: StateRoute,
  ): void {
    const params = path.includes(':item')
      ? z.object({ id: z.string(), item: z.string() })
      : z.object({ id: z.string() })
    app.route({
      method,
      url: `/v1${root}/:id${path}`,
      exposeHeadRoute: false,
      config: { access: method === 'GET' ? 'read' : 'jobs' },
      schema: {
        tags,
        operationId,
        summary,
        description: 'Sent to the provider that stores it.',
        params,
        ...(method === 'POST' ? { body: z.looseObject({}) } : {}),
        response: describe(answer),
      },
      handler: async (request, reply) => handle(request, reply, { root, what, method, path }),
    })
  }

  async function handle(
    request: FastifyRequest,
    reply: FastifyReply,
    { root, what, method, path }: { root: string; what: string } & Pick<StateRoute, 'method' | 'path'>,
  ): Promise<FastifyReply> {
    const { name: tenant } = tenantOf(request)
    const { id, item } = request.params as { id: string; item?: string }
    const provider = await providerState.find(tenant, id)
    const settings = provider === null ? undefined : deps.config().providers[provider]
    if (provider === null || settings === undefined || !keepsState(settings.kind)) {
      throw new ApiError('not_found', notKnown.replace('%', what))
    }
    if (item !== undefined && !isStateId(item)) throw notFound('item')
    const mark = request.url.indexOf('?')
    const answer = await stateRequests.ask({
      ...{ provider, method, search: mark === -1 ? '' : request.url.slice(mark) },
      // Rebuilt, because the client may have percent-encoded the ids.
      path: `${root}/${id}${item === undefined ? path : path.replace(':item', item)}`,
      body: method === 'POST' ? stringifyJson(request.body as JsonObject) : null,
      signal: abortOnDisconnect(reply),
    })
    const isDeleted = method === 'DELETE' && item === undefined
    if (isDeleted && (answer.ok || answer.status === 404)) await providerState.forget(tenant, id)
    return passOn(reply, answer)
  }

  for (const route of conversationRoutes) add('/conversations', 'conversation', route)
  for (const route of completionRoutes) add('/chat/completions', 'chat completion', route)
}
