import type { ProviderKind } from '../config/lanes.ts'
import { isJsonObject, type JsonObject } from '../lib/json.ts'
import { listProxySecrets, type ProxySettings } from '../lib/proxy.ts'
import { createAgent, requestTracked } from './connections.ts'
import { buildHeaders, urlOfPath } from './openai-address.ts'
import { parseErrorBody } from './provider-error.ts'
import { redact, redactProviderError } from './redact.ts'
import type { ProvidersConfig } from './registry.ts'
import { readJson, readText } from './transport.ts'

/** Timeout of one request, ms. */
const TIMEOUT_MS = 120_000
const MAX_BYTES = 64 * 1024 * 1024

/** Kinds whose providers store conversations and completions. */
const STATEFUL_KINDS: readonly ProviderKind[] = ['openai', 'azure-openai', 'openai-compatible']

export function keepsState(kind: ProviderKind): boolean {
  return STATEFUL_KINDS.includes(kind)
}

/** Asks for something that a provider stores, or does besides calls. */
export type StateRequest = {
  /** A provider whose kind stores state. */
  provider: string
  method: 'GET' | 'POST' | 'DELETE'
  /** Begins with a slash; its segments are encoded. */
  path: string
  /** Empty, or begins with a question mark. */
  search: string
  body: string | null
  signal: AbortSignal
}

export type StateAnswer =
  | { ok: true; status: number; body: JsonObject }
  /** `status` null: there was no answer. The error contains no key. */
  | { ok: false; status: number | null; error: JsonObject; message: string }

/** Requests that are not calls. Each is sent once, without retries, and its answer is the provider's. */
export type StateRequests = {
  ask(request: StateRequest): Promise<StateAnswer>
  close(): Promise<void>
}

/** @param deps.config returns the providers of the current configuration */
export function createStateRequests(deps: {
  config: () => ProvidersConfig
  proxy: ProxySettings | null
}): StateRequests {
  const dispatcher = createAgent(deps.proxy)

  return {
    async ask({ provider, method, path, search, body, signal }) {
      const settings = deps.config().providers[provider]
      if (settings === undefined) throw new RangeError(`no provider is named "${provider}"`)
      const address = {
        kind: settings.kind,
        baseUrl: settings.base_url,
        apiKey: settings.api_key,
        apiVersion: settings.api_version,
        headers: settings.headers,
      }
      const secrets = [
        settings.api_key ?? '',
        ...Object.values(settings.headers ?? {}),
        ...listProxySecrets(deps.proxy),
      ].filter((secret) => secret.length >= 8)
      try {
        const response = await requestTracked(urlOfPath(address, path, search), {
          ...{ method, dispatcher },
          headers: buildHeaders(address),
          ...(body === null ? {} : { body }),
          signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]),
        })
        const status = response.statusCode
        const isRefused = status < 200 || status >= 300
        const answer = isRefused
          ? parseErrorBody(await readText(response.body, MAX_BYTES).catch(() => ''))
          : await readJson(response.body, MAX_BYTES)
        if (!isRefused && isJsonObject(answer)) return { ok: true, status, body: answer }
        const said = isRefused ? answer : null
        const error = isJsonObject(said) ? redactProviderError(said, secrets) : {}
        const message = typeof error.message === 'string' ? error.message : `it answered ${status}`
        return { ok: false, status, error, message: redact(message, secrets) }
      } catch (error) {
        if (signal.aborted) return { ok: false, status: null, error: {}, message: 'the client went away' }
        const isLate = error instanceof Error && error.name === 'TimeoutError'
        const message = isLate ? 'the provider did not answer in time' : 'the provider could not be reached'
        return { ok: false, status: null, error: {}, message }
      }
    },
    close: () => dispatcher.close(),
  }
}
