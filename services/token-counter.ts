import type { ProviderAccess } from '../api/deps.ts'
import { createProviders } from '../providers/registry.ts'
import { createStateRequests, type StateRequests } from '../providers/state-requests.ts'
import type { Closers } from './closers.ts'
import { readProxy } from './proxy.ts'
import type { ServicesDeps } from './store.ts'

/** How an API process sends requests for objects that providers store. */
export function openStateRequests({ config }: Pick<ServicesDeps, 'config'>, closers: Closers): StateRequests {
  const requests = createStateRequests({ config: () => config.current(), proxy: readProxy(config.current()) })
  closers.add('what providers keep', () => requests.close())
  return requests
}

/** Time limit of a provider's count, ms; its client waits only for this. */
const TIMEOUT_MS = 30_000

/**
 * How an API process asks providers to count tokens, which is free and does not count against their limits on messages.
 *
 * @param now Unix ms, by Redis' clock
 */
export function openTokenCounter(
  { config }: Pick<ServicesDeps, 'config'>,
  now: () => number,
  closers: Closers,
): ProviderAccess['countTokens'] {
  const providers = createProviders({ config: config.current(), now, proxy: readProxy(config.current()) })
  const leave = config.subscribe((next) => providers.update(next))
  closers.add('the counting of tokens', async () => {
    leave()
    await providers.close()
  })
  return ({ provider, model, sources }, body, signal) => {
    // All sources count alike.
    const source = sources?.[0]
    const at = source === undefined ? null : { model, source: source.name }
    const { countTokens } = providers.get(provider, at)
    return countTokens?.({ model: source?.model ?? model, body, signal, timeoutMs: TIMEOUT_MS }) ?? null
  }
}
