import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { onTestFinished } from 'vitest'
import type { JsonObject, JsonValue } from '../../../lib/json.ts'
import { createOpenAiProvider, type OpenAiOptions } from '../../../providers/openai.ts'
import type { Provider, ProviderAnswer, ProviderRequest } from '../../../providers/provider.ts'
import type { SimulatorOptions } from '../../../simulator/options.ts'
import { createSimulator, type Simulator } from '../../../simulator/simulator.ts'

export const API_KEY = 'topsecret-key-1'

export type Ask = (request: Partial<ProviderRequest> & { body: JsonObject }) => Promise<ProviderAnswer>

/** An adapter for the address, closed with the test. `ask` fills in what a test leaves out. */
export function openProvider(
  baseUrl: string,
  options: Partial<OpenAiOptions> = {},
): { provider: Provider; ask: Ask } {
  const provider = createOpenAiProvider({
    name: 'test',
    kind: 'openai',
    baseUrl,
    apiKey: API_KEY,
    defaultTimeoutMs: 10_000,
    ...options,
  })
  onTestFinished(() => provider.close())
  const ask: Ask = (request) =>
    provider.call({
      type: 'chat',
      model: 'gpt-test',
      timeoutMs: 10_000,
      signal: new AbortController().signal,
      ...request,
    })
  return { provider, ask }
}

/** A simulator and an adapter for it, both closed with the test. */
export async function openSimulator(
  options: SimulatorOptions = {},
  adapter: Partial<OpenAiOptions> = {},
): Promise<{ simulator: Simulator; url: string; provider: Provider; ask: Ask }> {
  const simulator = createSimulator(options)
  const url = await simulator.listen()
  onTestFinished(() => simulator.close())
  return { simulator, url, ...openProvider(url, adapter) }
}

/** A server that behaves as the test says; for behaviour that no simulator should have. */
export async function openServer(listener: RequestListener): Promise<string> {
  const server = createServer(listener)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(
    () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  )
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`
}

export function chatBody(content: string, members: JsonObject = {}): JsonObject {
  return { model: 'alias/name', messages: [{ role: 'user', content }], ...members }
}

export function collectDeltas(): { deltas: JsonObject[]; onDelta: (chunk: JsonValue) => void } {
  const deltas: JsonObject[] = []
  return { deltas, onDelta: (chunk) => deltas.push(chunk as JsonObject) }
}
