import { loadConfig } from './config/load.ts'
import type { Config } from './config/schema.ts'
import type { SimulatorOptions } from './simulator/options.ts'

/** What the simulator behind the try-out enforces, for each model. */
const tryoutLimits = { requests_per_minute: 1800, tokens_per_minute: 180_000 }

/** A simulator that answers about as fast as a small model does. */
export const tryoutSimulator: SimulatorOptions = {
  limits: tryoutLimits,
  latencyMs: 250,
  jitterMs: 250,
  perTokenMs: 5,
}

/**
 * The configuration for whoever has no key yet: the simulator as provider, one chat and one embedding lane, a route,
 * no tenants.
 *
 * @param simulatorUrl base URL of a running simulator
 */
export function tryoutConfig(
  simulatorUrl: string,
  env: Readonly<Record<string, string | undefined>>,
  extra = '',
): Config {
  const text = `
providers:
  sim:
    kind: openai-compatible
    base_url: ${simulatorUrl}
    timeout: 30s
    limits:
      requests_per_minute: ${tryoutLimits.requests_per_minute}
      tokens_per_minute: ${tryoutLimits.tokens_per_minute}
      max_concurrency: 64
    models:
      chat-small: { price: { input: 0.25, output: 2.00 } }
      embed-small:
        price: { input: 0.02 }
        coalesce: { max_inputs: 256, max_tokens: 100000, max_wait: 20ms }
routes:
  fast: [sim/chat-small]
webhooks: { secret: whsec_dHJ5LW91dC1zZWNyZXQtbm90LWZvci1wcm9kdWN0aW9u, allow_private_addresses: true }
redis: { url: "\${REDIS_URL:-}" }
${extra}`
  return loadConfig({ path: 'tryout.yaml', text, env })
}
