import type { Dispatcher } from 'undici'
import type { ProviderKind } from '../config/lanes.ts'
import type { ProxySettings } from '../lib/proxy.ts'
import { createAnthropicProvider } from './anthropic.ts'
import { createOpenAiProvider } from './openai.ts'
import type { Provider } from './provider.ts'
import type { OnUnsupported } from './unsupported.ts'

/** The part of a provider's configuration that its adapter needs. */
export type ProviderSettings = {
  kind: ProviderKind
  base_url: string
  api_key?: string | null | undefined
  api_version?: string | null | undefined
  /** Anthropic only. */
  default_max_tokens?: number | undefined
  on_unsupported?: OnUnsupported | undefined
  headers?: Record<string, string> | undefined
  /** Milliseconds. */
  timeout: number
  models?: Record<string, { sources?: SourceSettings[] | undefined }>
}

/** A source (key, account, region or deployment) of a model, as far as its adapter needs it. */
type SourceSettings = { name: string; api_key?: string | undefined; base_url?: string | undefined }

/** Names one source of a model. */
export type SourcePlace = { model: string; source: string }

export type ProvidersConfig = { providers: Record<string, ProviderSettings> }

export type Providers = {
  /**
   * The adapter of a configured provider.
   *
   * @param at the source to call; absent: the provider's own key and address
   * @throws RangeError for a name that is not configured
   */
  get(name: string, at?: SourcePlace | null): Provider
  /** Applies a new configuration: adapters with changed settings are rebuilt, removed ones are closed. */
  update(config: ProvidersConfig): void
  /** Resolves when all calls have ended and their connections are closed. */
  close(): Promise<void>
}

/**
 * Builds one adapter for each provider, at its first use, and keeps it with its connections.
 *
 * @param deps.now unix milliseconds
 */
export function createProviders(deps: {
  config: ProvidersConfig
  now?: () => number
  /** The proxy for calls; none by default. */
  proxy?: ProxySettings | null
}): Providers {
  const built = new Map<string, Built>()
  /** Replaced adapters whose calls are still running: these end on the old connections. */
  const closing = new Set<Promise<void>>()
  let config = deps.config

  function retire(key: string, provider: Provider): void {
    built.delete(key)
    const closed = provider.close().finally(() => closing.delete(closed))
    closing.add(closed)
  }

  return {
    get(name, at = null) {
      const key = at === null ? name : JSON.stringify([name, at.model, at.source])
      const known = built.get(key)
      if (known) return known.provider
      const settings = findSettings(config, name, at)
      if (!settings)
        throw new RangeError(`no provider is named "${name}"${at === null ? '' : ' with this source'}`)
      const provider = createProvider(name, settings, deps.now ?? Date.now, { proxy: deps.proxy ?? null })
      built.set(key, { provider, fingerprint: fingerprintSettings(settings), name, at })
      return provider
    },
    update(next) {
      config = next
      for (const [key, { provider, fingerprint, name, at }] of built) {
        const settings = findSettings(next, name, at)
        if (!settings || fingerprintSettings(settings) !== fingerprint) retire(key, provider)
      }
    },
    async close() {
      for (const [name, { provider }] of built) retire(name, provider)
      await Promise.all(closing)
    },
  }
}

type Built = { provider: Provider; fingerprint: string; name: string; at: SourcePlace | null }

/** The settings of a provider, with the key and address of a source. */
export function findSettings(
  { providers }: ProvidersConfig,
  name: string,
  at: SourcePlace | null,
): ProviderSettings | undefined {
  const settings = Object.hasOwn(providers, name) ? providers[name] : undefined
  if (settings === undefined || at === null) return settings
  const models = settings.models ?? {}
  const model = Object.hasOwn(models, at.model) ? models[at.model] : models['*']
  const source = model?.sources?.find((one) => one.name === at.source)
  return source && { ...settings, ...pickAddress(source, settings) }
}

function pickAddress(
  { api_key, base_url }: SourceSettings,
  settings: ProviderSettings,
): Pick<ProviderSettings, 'api_key' | 'base_url'> {
  return { api_key: api_key ?? settings.api_key, base_url: base_url ?? settings.base_url }
}

/** Creates the adapter of a provider. `way`: a proxy for its connections, or a dispatcher that replaces them. */
export function createProvider(
  name: string,
  settings: ProviderSettings,
  now: () => number,
  way: { proxy: ProxySettings | null } | { dispatcher: Dispatcher },
): Provider {
  const { kind } = settings
  const shared = {
    name,
    baseUrl: settings.base_url,
    apiKey: settings.api_key ?? '',
    defaultTimeoutMs: settings.timeout,
    ...way,
    now,
    ...(settings.headers ? { headers: settings.headers } : {}),
  }
  if (kind === 'anthropic') {
    const { default_max_tokens: cap, on_unsupported: onUnsupported = 'refuse' } = settings
    return createAnthropicProvider({ ...shared, onUnsupported, ...(cap ? { defaultMaxTokens: cap } : {}) })
  }
  return createOpenAiProvider({
    ...shared,
    // Gemini is called through its OpenAI-compatible endpoint.
    kind: kind === 'gemini' ? 'openai-compatible' : kind,
    ...(settings.api_version ? { apiVersion: settings.api_version } : {}),
  })
}

/** Changes exactly when the adapter must be rebuilt. */
function fingerprintSettings(settings: ProviderSettings): string {
  const { kind, base_url, api_key, api_version, default_max_tokens, on_unsupported, headers, timeout } =
    settings
  const own = [kind, base_url, api_key, api_version, default_max_tokens, on_unsupported, timeout]
  return JSON.stringify([own, Object.entries(headers ?? {}).sort()])
}
