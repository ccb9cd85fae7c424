import type { IncomingMessage } from 'node:http'
import type { FastifyRequest } from 'fastify'
import { isJsonObject } from '../../lib/json.ts'
import { withMembers } from '../../lib/json-source.ts'

/** Azure's client puts the deployment into the path. Here it names the model. */
const DEPLOYMENT = /^\/openai\/deployments\/(.+?)\/((?:chat\/)?completions|embeddings)$/
const PREFIX = /^\/openai(?:\/v1)?\/(.+)$/

const deployments = new WeakMap<IncomingMessage, string>()

/**
 * Maps a path of Azure OpenAI to ours (Azure OpenAI REST API reference, both the dated and the v1 form):
 * `/openai/deployments/{deployment}/chat/completions`, `/openai/v1/responses`, `/openai/models`, …; any other path stays. `api-version` has
 * no meaning here and is removed.
 */
export function rewriteAzurePath(request: IncomingMessage): string {
  const url = request.url ?? '/'
  if (!url.startsWith('/openai/')) return url
  const [path = '', query = ''] = url.split('?', 2)
  const search = new URLSearchParams(query)
  search.delete('api-version')
  const tail = search.size > 0 ? `?${search}` : ''
  const [, deployment, endpoint] = DEPLOYMENT.exec(path) ?? []
  if (deployment !== undefined) {
    deployments.set(request, decode(deployment))
    return `/v1/${endpoint}${tail}`
  }
  const rest = PREFIX.exec(path)?.[1]
  return rest === undefined || rest.startsWith('deployments/') ? url : `/v1/${rest}${tail}`
}

/** Puts the deployment of the path into the body as its model. As at Azure, it overrides the body's `model`. */
export function applyDeployment(request: FastifyRequest): void {
  const deployment = deployments.get(request.raw)
  if (deployment !== undefined && isJsonObject(request.body)) {
    request.body = withMembers(request.body, { model: deployment })
  }
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
