import type { Dispatcher } from 'undici'
import type { ProviderKind } from '../config/lanes.ts'
import type { ProxySettings } from '../lib/proxy.ts'
import { createAnthropicProvider } from './anthropic.ts'
import { createOpenAiProvider } from './openai.ts'
import type { Provider } from './provider.ts'
import type { OnUnsupported } from './unsupported.ts'

/** One provider of the configuration, as far as its adapter needs it. */
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
}

export type ProvidersConfig = { providers: Record<string, ProviderSettings> }

export type Providers = {
  /**
   * The adapter of a configured provider.
   *
   * @throws RangeError for a name that is not configured
   */
  get(name: string): Provider
  /** Takes over a new configuration: adapters whose settings changed are built again, removed ones are closed. */
  update(config: ProvidersConfig): void
  /** Answers when the calls under way are over and their connections closed. */
  close(): Promise<void>
}

/**
 * Builds one adapter a provider, at its first use, and keeps its connections from then on.
 *
 * @param deps.now unix milliseconds
 */
export function createProviders(deps: {
  config: ProvidersConfig
  now?: () => number
  /** What calls go by; none unless given. */
  proxy?: ProxySettings | null
}): Providers {
  const built = new Map<string, { provider: Provider; fingerprint: string }>()
  /** Adapters replaced while calls were under way: these end on the old connections. */
  const closing = new Set<Promise<void>>()
  let config = deps.config

  function retire(name: string, provider: Provider): void {
    built.delete(name)
    const closed = provider.close().finally(() => closing.delete(closed))
    closing.add(closed)
  }

  return {
    get(name) {
      const known = built.get(name)
      if (known) return known.provider
      const settings = Object.hasOwn(config.providers, name) ? config.providers[name] : undefined
      if (!settings) throw new RangeError(`no provider is named "${name}"`)
      const provider = createProvider(name, settings, deps.now ?? Date.now, { proxy: deps.proxy ?? null })
      built.set(name, { provider, fingerprint: fingerprintSettings(settings) })
      return provider
    },
    update(next) {
      config = next
      for (const [name, { provider, fingerprint }] of built) {
        const settings = Object.hasOwn(next.providers, name) ? next.providers[name] : undefined
        if (!settings || fingerprintSettings(settings) !== fingerprint) retire(name, provider)
      }
    },
    async close() {
      for (const [name, { provider }] of built) retire(name, provider)
      await Promise.all(closing)
    },
  }
}

/** The adapter of a provider. `way`: the proxy that calls go by, or what stands in place of all connections. */
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
    // Gemini is asked through its OpenAI-compatible endpoint.
    kind: kind === 'gemini' ? 'openai-compatible' : kind,
    ...(settings.api_version ? { apiVersion: settings.api_version } : {}),
  })
}

/** Changes exactly when the adapter must be built again. */
function fingerprintSettings(settings: ProviderSettings): string {
  const { kind, base_url, api_key, api_version, default_max_tokens, on_unsupported, headers, timeout } =
    settings
  const own = [kind, base_url, api_key, api_version, default_max_tokens, on_unsupported, timeout]
  return JSON.stringify([own, Object.entries(headers ?? {}).sort()])
}
