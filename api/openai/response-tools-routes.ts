import type { FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import type { Lane } from '../../config/lanes.ts'
import type { JsonObject } from '../../lib/json.ts'
import { stringifyJson, withMembers } from '../../lib/json-source.ts'
import { countPrompt } from '../../providers/count-tokens.ts'
import { keepsState, type StateAnswer } from '../../providers/state-requests.ts'
import { tenantOf } from '../auth.ts'
import type { Api, RouteContext } from '../deps.ts'
import { abortOnDisconnect } from '../disconnect.ts'
import { ApiError } from '../errors.ts'
import { listPermitted, resolvePermitted } from '../jobs/permitted-models.ts'
import { bookCall, costOfAnswer } from './call-costs.ts'
import { modelNotFound } from './missing-model.ts'
import { requireOwnConversation } from './own-state.ts'
import { passOn } from './pass-on.ts'
import { toProviderBody } from './response-id.ts'
import { looseJson, openAiErrorResponses, openAiTags as tags } from './schema.ts'
import { requireTenantRoom } from './tenant-room.ts'

const bodySchema = z.looseObject({ model: z.string().min(1).max(512) })
const describe = (answer: string): unknown => ({
  200: { description: answer, content: looseJson(answer) },
  ...openAiErrorResponses,
})

/**
 * Routes of the Responses API that create no response: counting a request's tokens, and compacting a conversation. Each is sent at once,
 * takes a permit of its lane, and counts as a request of its tenant.
 */
export function registerResponseToolRoutes(app: Api, { deps }: RouteContext): void {
  async function prepare(request: FastifyRequest): Promise<{ lane: Lane; body: JsonObject }> {
    const tenant = tenantOf(request)
    const given = request.body as JsonObject
    const model = String(given.model)
    const [lane] = resolvePermitted(tenant, model, deps).lanes
    if (lane === undefined) throw modelNotFound(model, listPermitted(tenant, deps), 'body.model')
    await requireOwnConversation(tenant.name, 'response', given, deps)
    const { body } = await toProviderBody(deps.store.jobs, tenant.name, given)
    return { lane, body }
  }

  async function ask(
    request: FastifyRequest,
    reply: FastifyReply,
    path: string,
    { lane, body }: { lane: Lane; body: JsonObject },
    takesTokens: boolean,
  ) {
    const signal = abortOnDisconnect(reply)
    const estimate = deps.submission.estimateCost(lane, 'response', body)
    const cost = {
      requests: 1,
      tokens: takesTokens ? estimate.tokens : 0,
      inputTokens: takesTokens ? estimate.inputTokens : 0,
      outputTokens: takesTokens ? estimate.outputTokens : 0,
    }
    const tenant = tenantOf(request)
    await requireTenantRoom(tenant, deps)
    const booked = takesTokens ? await bookCall(tenant, lane, estimate, deps) : null
    let answer: StateAnswer | null = null
    try {
      const permit = await deps.providers
        .takePermit(lane, cost, tenant.name, signal)
        .catch(async (error: unknown) => {
          // The request was not sent.
          await booked?.settle(0)
          throw error
        })
      answer = await stateRequests.ask({
        ...{ provider: lane.provider, method: 'POST' as const, path, search: '', signal },
        body: stringifyJson(withMembers(body, { model: lane.model })),
      })
      await permit.settle(answer.ok || answer.status !== null ? cost : null)
    } finally {
      // Without an answer it may still be billed: the booked cost stays.
      const costUsd = answer === null ? null : costOfAnswer(lane, answer)
      if (costUsd !== null) await booked?.settle(costUsd)
    }
    return answer
  }

  const { requests: stateRequests } = deps.providers

  app.post(
    '/v1/responses/input_tokens',
    {
      config: { access: 'jobs' },
      schema: {
        tags,
        operationId: 'countResponseTokens',
        summary: 'Count the input tokens of a response',
        description:
          'Sent to the provider, as a request of its lane. If the provider has no such endpoint, the count is an estimate from the length of what the ' +
          'model reads. It counts among the requests a minute of the tenant, and is refused while the tenant is paused or a budget has no room.',
        body: bodySchema,
        response: describe('`object: "response.input_tokens"` and `input_tokens`.'),
      },
    },
    async (request, reply) => {
      const prepared = await prepare(request)
      const { lane, body } = prepared
      const estimate = () => ({
        object: 'response.input_tokens',
        input_tokens: countPrompt('response', body),
      })
      if (!keepsState(lane.kind)) return reply.send(estimate() as never)
      const answer = await ask(request, reply, '/responses/input_tokens', prepared, false)
      // Compatible servers answer like this for a path that they do not have.
      const isMissing = !answer.ok && (answer.status === 404 || answer.status === 405)
      if (isMissing && lane.kind === 'openai-compatible') return reply.send(estimate() as never)
      return passOn(reply, answer)
    },
  )

  app.post(
    '/v1/responses/compact',
    {
      config: { access: 'jobs' },
      schema: {
        tags,
        operationId: 'compactResponse',
        summary: 'Compact a conversation',
        description:
          'Sent to the provider, as a request of its lane with the tokens of its input. It is not a job, and is not retried. It counts among ' +
          'the requests a minute of the tenant, and its cost against the budgets of the tenant and the key. It is refused while the tenant is ' +
          'paused or a budget has no room.',
        body: bodySchema,
        response: describe('A `response.compaction`.'),
      },
    },
    async (request, reply) => {
      const prepared = await prepare(request)
      if (!keepsState(prepared.lane.kind)) {
        const message = `body.model: ${prepared.lane.id} is of kind ${prepared.lane.kind}, which compacts no conversations`
        throw new ApiError('unsupported_type', message, { param: 'body.model' })
      }
      return passOn(reply, await ask(request, reply, '/responses/compact', prepared, true))
    },
  )
}
