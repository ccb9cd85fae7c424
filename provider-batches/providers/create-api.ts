import type { Dispatcher } from 'undici'
import type { ProviderKind } from '../../config/lanes.ts'
import type { JobType } from '../../jobs/job.ts'
import type { ProviderBatch } from '../batch.ts'
import { createAnthropicBatchApi } from './anthropic-api.ts'
import type { BatchApi } from './batch-api.ts'
import { createGeminiFiles } from './gemini-files.ts'
import { createOpenAiBatchApi } from './openai-api.ts'

/** What of a provider's configuration its batches need. */
export type BatchApiSettings = {
  kind: ProviderKind
  base_url: string
  api_key?: string | null | undefined
  headers?: Record<string, string> | undefined
}

const ENDPOINTS: Partial<Record<JobType, string>> = { response: '/responses', embedding: '/embeddings' }

/** What every other type of a job is at such a provider. */
const CHATS = '/chat/completions'

/** The batches of a configured provider. `dispatcher`: its connections. */
export function createBatchApi(settings: BatchApiSettings, dispatcher: Dispatcher): BatchApi {
  const { kind, base_url: baseUrl } = settings
  const shared = { baseUrl, apiKey: settings.api_key ?? '', headers: settings.headers ?? {}, dispatcher }
  if (kind === 'anthropic') return createAnthropicBatchApi(shared)
  const isAzure = kind === 'azure-openai'
  const pathOf = ({ type }: ProviderBatch) => `/v1${ENDPOINTS[type] ?? CHATS}`
  return createOpenAiBatchApi({
    ...shared,
    ...{ isAzure, pathOf },
    // Azure's lines have the version, and its batches of chats have not.
    endpointOf: (batch) => (isAzure && pathOf(batch) === `/v1${CHATS}` ? CHATS : pathOf(batch)),
    ...(kind === 'gemini' ? { files: createGeminiFiles(shared) } : {}),
  })
}
