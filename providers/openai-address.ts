import type { ProviderKind } from '../config/lanes.ts'
import type { CallType } from '../lib/call-type.ts'
import type { ProviderRequest } from './provider.ts'
import { trimUrl } from './transport.ts'

/** Address and credentials of a provider that speaks OpenAI's HTTP API. */
export type OpenAiAddress = {
  kind: ProviderKind
  baseUrl: string
  apiKey?: string | null | undefined
  /** Azure's deployments API only. */
  apiVersion?: string | null | undefined
  /** Sent with every request; these override our own headers. */
  headers?: Record<string, string> | undefined
}

const PATHS: Record<CallType, string> = {
  chat: '/chat/completions',
  // Sent as a chat.
  message: '/chat/completions',
  response: '/responses',
  embedding: '/embeddings',
  completion: '/completions',
  moderation: '/moderations',
  rerank: '/rerank',
  image: '/images/generations',
  image_edit: '/images/edits',
  speech: '/audio/speech',
  transcription: '/audio/transcriptions',
  translation: '/audio/translations',
}
const DEFAULT_API_VERSION = '2024-10-21'

/** The headers of every request to this provider. */
export function buildHeaders(options: OpenAiAddress): Record<string, string> {
  const headers: Record<string, string> = {
    accept: 'application/json, text/event-stream, */*;q=0.5',
    'content-type': 'application/json',
    'user-agent': 'sluice',
  }
  if (options.apiKey && options.kind === 'azure-openai') headers['api-key'] = options.apiKey
  else if (options.apiKey) headers.authorization = `Bearer ${options.apiKey}`
  for (const [name, value] of Object.entries(options.headers ?? {})) headers[name.toLowerCase()] = value
  return headers
}

/**
 * Returns the URL of each call. Azure's deployments API has the deployment in the path (except for Responses) and the version in the query.
 * Its v1 API uses OpenAI's paths (Azure OpenAI, "REST API reference").
 */
export function createUrls(options: OpenAiAddress): (request: ProviderRequest) => string {
  const base = trimUrl(options.baseUrl)
  if (options.kind !== 'azure-openai' || /\/openai\/v1$/.test(base)) return ({ type }) => base + PATHS[type]
  const root = /\/openai(?:\/|$)/.test(new URL(base).pathname) ? base : `${base}/openai`
  const version = encodeURIComponent(options.apiVersion ?? DEFAULT_API_VERSION)
  return ({ type, model }) => {
    const deployment = type === 'response' ? '' : `/deployments/${encodeURIComponent(model)}`
    return `${root}${deployment}${PATHS[type]}?api-version=${version}`
  }
}

/** The URL of resources that belong to no model: conversations, stored completions. `path` begins with a slash. */
export function urlOfPath(options: OpenAiAddress, path: string, search: string): string {
  const base = trimUrl(options.baseUrl)
  if (options.kind !== 'azure-openai' || /\/openai\/v1$/.test(base)) return base + path + search
  const root = /\/openai(?:\/|$)/.test(new URL(base).pathname) ? base : `${base}/openai`
  return `${root}/v1${path}${search}`
}
