import type { ProviderKind } from '../../../config/lanes.ts'
import type { Feedback, ProviderFailure } from '../../../providers/provider.ts'
import type { ProviderSettings } from '../../../providers/registry.ts'

export const API_KEY = 'a-key-for-the-contract'

/** The settings of a kind, its expected address, and the expected results of its provider's own errors. */
export type Kind = {
  kind: ProviderKind
  settings: (origin: string) => Partial<ProviderSettings> & { base_url: string }
  model: string
  chatUrl: string
  /** Null if the kind serves no embeddings. */
  embeddingUrl: string | null
  authorization: Record<string, string>
  feedback: Feedback
  failures: Record<string, Partial<ProviderFailure>>
  errorInStream: Partial<ProviderFailure>
  /** The providers choose the ids of calls. */
  callId: string
}

const throttled = { class: 'throttled', status: 429, input: false } as const
const spent = { class: 'final', status: 429, input: false } as const

/** Every kind of the configuration. The failures are named after the files in test/fixtures/providers. */
export const KINDS: Kind[] = [
  {
    kind: 'openai',
    settings: (origin) => ({ base_url: `${origin}/v1` }),
    model: 'gpt-5-mini',
    chatUrl: '/v1/chat/completions',
    embeddingUrl: '/v1/embeddings',
    authorization: { authorization: `Bearer ${API_KEY}` },
    feedback: { limitRequests: 500, remainingRequests: 499, limitTokens: 200_000, remainingTokens: 199_950 },
    failures: {
      'rate-limited': {
        ...throttled,
        code: 'rate_limit_exceeded',
        feedback: {
          limitRequests: 500,
          remainingRequests: 0,
          limitTokens: 200_000,
          remainingTokens: 199_950,
          retryAfterMs: 1820,
        },
      },
      'rate-limited-bare': { ...throttled, code: 'rate_limit_exceeded', feedback: {} },
      quota: { ...spent, code: 'project_spend_limit_exceeded' },
      unauthorized: { class: 'final', status: 401, code: 'invalid_api_key', input: false },
      invalid: { class: 'final', status: 400, code: 'invalid_type', input: true },
      'not-found': { class: 'final', status: 404, code: 'model_not_found', input: false },
      overloaded: { class: 'retryable', status: 503, code: 'server_error' },
    },
    errorInStream: { class: 'retryable', code: 'server_error' },
    callId: 'call_weather1',
  },
  {
    kind: 'azure-openai',
    settings: (origin) => ({ base_url: origin, api_version: '2024-10-21' }),
    model: 'my-deployment',
    chatUrl: '/openai/deployments/my-deployment/chat/completions?api-version=2024-10-21',
    embeddingUrl: '/openai/deployments/my-deployment/embeddings?api-version=2024-10-21',
    authorization: { 'api-key': API_KEY },
    feedback: { limitRequests: 250, remainingRequests: 249, limitTokens: 250_000, remainingTokens: 249_900 },
    failures: {
      'rate-limited': {
        ...throttled,
        code: '429',
        feedback: {
          limitRequests: 250,
          remainingRequests: 249,
          limitTokens: 250_000,
          remainingTokens: 0,
          retryAfterMs: 5230,
        },
      },
      'rate-limited-bare': { ...throttled, code: 'RateLimitReached', feedback: {} },
      quota: { ...spent, code: 'insufficient_quota' },
      unauthorized: { class: 'final', status: 401, code: '401', input: false },
      invalid: { class: 'final', status: 400, code: 'content_filter', input: true },
      'not-found': { class: 'final', status: 404, code: 'DeploymentNotFound', input: false },
      overloaded: { class: 'retryable', status: 503, code: 'InternalServerError' },
    },
    errorInStream: { class: 'final', code: 'content_filter' },
    callId: 'call_weather1',
  },
  {
    kind: 'openai-compatible',
    settings: (origin) => ({ base_url: `${origin}/v1/` }),
    model: 'meta-llama/Llama-3.1-8B-Instruct',
    chatUrl: '/v1/chat/completions',
    embeddingUrl: '/v1/embeddings',
    authorization: { authorization: `Bearer ${API_KEY}` },
    feedback: {},
    failures: {
      'rate-limited': { ...throttled, code: 'http_429', feedback: { retryAfterMs: 3000 } },
      'rate-limited-bare': { ...throttled, code: 'http_429', feedback: {} },
      quota: { ...spent, code: 'insufficient_quota' },
      unauthorized: { class: 'final', status: 401, code: 'http_401', input: false },
      invalid: { class: 'final', status: 400, code: '400', input: true },
      'not-found': { class: 'final', status: 404, code: '404', input: false },
      overloaded: { class: 'retryable', status: 502, code: 'http_502' },
    },
    errorInStream: { class: 'retryable', code: '500' },
    callId: 'call_weather1',
  },
  {
    kind: 'gemini',
    settings: (origin) => ({ base_url: `${origin}/v1beta/openai` }),
    model: 'gemini-2.5-flash',
    chatUrl: '/v1beta/openai/chat/completions',
    embeddingUrl: '/v1beta/openai/embeddings',
    authorization: { authorization: `Bearer ${API_KEY}` },
    feedback: {},
    failures: {
      'rate-limited': { ...throttled, code: 'RESOURCE_EXHAUSTED', feedback: { retryAfterMs: 33_579 } },
      'rate-limited-bare': { ...throttled, code: 'RESOURCE_EXHAUSTED', feedback: {} },
      'rate-limited-daily': {
        ...throttled,
        code: 'RESOURCE_EXHAUSTED',
        feedback: { retryAfterMs: 3_600_000 },
      },
      quota: { ...spent, code: 'insufficient_quota' },
      unauthorized: { class: 'final', status: 400, code: 'API_KEY_INVALID', input: false },
      invalid: { class: 'final', status: 400, code: 'INVALID_ARGUMENT', input: true },
      'not-found': { class: 'final', status: 404, code: 'NOT_FOUND', input: false },
      overloaded: { class: 'retryable', status: 503, code: 'UNAVAILABLE' },
      'too-slow': { class: 'retryable', status: 504, code: 'DEADLINE_EXCEEDED' },
    },
    errorInStream: { class: 'retryable', code: 'UNAVAILABLE' },
    callId: 'function-call-1',
  },
  {
    kind: 'anthropic',
    settings: (origin) => ({ base_url: origin }),
    model: 'claude-haiku-4-5',
    chatUrl: '/v1/messages',
    embeddingUrl: null,
    authorization: { 'x-api-key': API_KEY, 'anthropic-version': '2023-06-01' },
    feedback: { limitRequests: 50, remainingRequests: 49, limitTokens: 40_000, remainingTokens: 39_950 },
    failures: {
      'rate-limited': {
        ...throttled,
        code: 'rate_limit_error',
        feedback: {
          limitRequests: 50,
          remainingRequests: 0,
          limitTokens: 40_000,
          remainingTokens: 39_950,
          retryAfterMs: 12_000,
        },
      },
      // The input tokens are used up until 12:00:30; it is 12:00:00.
      'rate-limited-bare': {
        ...throttled,
        code: 'rate_limit_error',
        feedback: {
          limitRequests: 50,
          remainingRequests: 49,
          limitTokens: 40_000,
          remainingTokens: 39_950,
          retryAfterMs: 30_000,
        },
      },
      quota: { ...spent, code: 'enforced_spend_limit_reached' },
      unauthorized: { class: 'final', status: 401, code: 'authentication_error', input: false },
      invalid: { class: 'final', status: 400, code: 'invalid_request_error', input: true },
      'not-found': { class: 'final', status: 404, code: 'not_found_error', input: false },
      'too-large': { class: 'final', status: 413, code: 'request_too_large', input: false },
      forbidden: { class: 'final', status: 403, code: 'permission_error', input: false },
      overloaded: { class: 'retryable', status: 529, code: 'overloaded_error' },
      internal: { class: 'retryable', status: 500, code: 'api_error' },
    },
    errorInStream: { class: 'retryable', code: 'overloaded_error' },
    callId: 'toolu_01D7FLrfh4GYq7yT1ULFeyMV',
  },
]
