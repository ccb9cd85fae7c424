import type { Dispatcher } from 'undici'
import type { ProviderKind } from '../../config/lanes.ts'
import type { JobType } from '../../jobs/job.ts'
import type { ProviderBatch } from '../batch.ts'
import { createAnthropicBatchApi } from './anthropic-api.ts'
import type { BatchApi } from './batch-api.ts'
import { createGeminiFiles } from './gemini-files.ts'
import { createOpenAiBatchApi } from './openai-api.ts'

/** The part of a provider's configuration that its batches need. */
export type BatchApiSettings = {
  kind: ProviderKind
  base_url: string
  api_key?: string | null | undefined
  headers?: Record<string, string> | undefined
}

const ENDPOINTS: Partial<Record<JobType, string>> = { response: '/responses', embedding: '/embeddings' }

/** The endpoint for every other job type. */
const CHATS = '/chat/completions'

/** Creates the batch API of a configured provider. `dispatcher`: its connections. */
export function createBatchApi(settings: BatchApiSettings, dispatcher: Dispatcher): BatchApi {
  const { kind, base_url: baseUrl } = settings
  const shared = { baseUrl, apiKey: settings.api_key ?? '', headers: settings.headers ?? {}, dispatcher }
  if (kind === 'anthropic') return createAnthropicBatchApi(shared)
  const isAzure = kind === 'azure-openai'
  const pathOf = ({ type }: ProviderBatch) => `/v1${ENDPOINTS[type] ?? CHATS}`
  return createOpenAiBatchApi({
    ...shared,
    ...{ isAzure, pathOf },
    // Azure's lines have `/v1` in the URL, but its batches of chats do not.
    endpointOf: (batch) => (isAzure && pathOf(batch) === `/v1${CHATS}` ? CHATS : pathOf(batch)),
    ...(kind === 'gemini' ? { files: createGeminiFiles(shared) } : {}),
  })
}
