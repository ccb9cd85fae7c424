import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Agent, request } from 'undici'
import { LIMITS_LIKE, type LimitsLikeName } from '../../simulator/limits-like.ts'
import type { BilledCall, SimulatorState } from '../../simulator/state.ts'
import { startChild } from '../child.ts'
import { type Call, chatBody, LATENCY, LIMITS, type Limits } from './workload.ts'

/** The limited upstream, in a process of its own. Each model has limits and levels of its own. */
export type Upstream = {
  /** For clients: `http://127.0.0.1:…/v1`. */
  url: string
  state(): Promise<SimulatorState>
  /** Billed calls, the oldest first. */
  calls(): Promise<BilledCall[]>
  setLimits(model: string, limits: Limits): Promise<void>
  /** Takes all that the model's bucket holds; resolves with how many seconds' worth was refilled since. */
  empty(model: string, limits: Limits): Promise<number>
  /** Makes one call without repeating it; answers the status. */
  send(model: string, call: Call): Promise<number>
  close(): Promise<void>
}

export type UpstreamOptions = { name: string } & (
  | {
      enforcement: 'bucket' | 'window'
      /** Of the limits, ms. */
      windowMs: number
      /** The limits count all models of this pattern together, and none by itself. */
      family?: string
      /** The keys of the upstream, each with this share of the limits for itself. */
      keys?: Record<string, number>
    }
  | { limitsLike: LimitsLikeName }
)

/** An emptied bucket is left to refill for this long, so that calls that arrive a little early find room. */
const LEAST_REFILL_MS = 1000

export async function startUpstream(options: UpstreamOptions): Promise<Upstream> {
  const { name } = options
  const isLike = 'limitsLike' in options
  const windowMs = isLike ? LIMITS_LIKE[options.limitsLike].window : options.windowMs
  const args = {
    port: 0,
    ...limitsOf(options),
    ...(isLike
      ? { 'limits-like': options.limitsLike }
      : { enforcement: options.enforcement, window: windowMs }),
    latency: LATENCY.least,
    jitter: LATENCY.jitter,
  }
  const child = await startChild({
    name,
    args: [
      '--import',
      new URL('../serve-usage.ts', import.meta.url).href,
      fileURLToPath(new URL('../../main.ts', import.meta.url)),
      'simulator',
      ...Object.entries(args).flatMap(([option, value]) =>
        [value].flat().flatMap((one) => [`--${option}`, String(one)]),
      ),
    ],
    ready: /simulator: (\S+)/,
    profile: null,
  })
  const url = child.match[1]!
  // Many at once over few connections.
  const crowd = new Agent({ connections: 32, pipelining: 64 })

  async function state(): Promise<SimulatorState> {
    const { body } = await request(new URL('/_sim/state', url))
    return (await body.json()) as SimulatorState
  }

  async function calls(): Promise<BilledCall[]> {
    const { body } = await request(new URL('/_sim/calls', url))
    return ((await body.json()) as { calls: BilledCall[] }).calls
  }

  async function send(model: string, call: Call, dispatcher?: Agent): Promise<number> {
    const answer = await request(`${url}/chat/completions`, {
      ...(dispatcher ? { dispatcher, idempotent: true, blocking: false } : {}),
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(chatBody(model, call)),
    })
    await answer.body.dump()
    return answer.statusCode
  }

  return {
    url,
    state,
    calls,
    send: (model, call) => send(model, call),
    async close() {
      await crowd.close()
      await child.close()
    },
    async setLimits(model, limits) {
      const answer = await request(new URL('/_sim/limits', url), {
        method: 'POST',
        body: JSON.stringify({ model, ...limits }),
      })
      await answer.body.dump()
      if (answer.statusCode !== 200) throw new Error(`the upstream accepted no limits: ${answer.statusCode}`)
    },
    async empty(model, limits) {
      const requests = Math.floor((limits.requests_per_minute * windowMs) / 60_000)
      const tokens = Math.floor((limits.tokens_per_minute * windowMs) / 60_000)
      const before = (await state()).admitted_requests
      const startedAt = performance.now()
      // A short prompt counts for one token; the first call takes what the others leave.
      const sent = Array.from({ length: requests }, (_, index) =>
        send(model, { tokens: index === 0 ? tokens - requests + 1 : 1, prompt: '.' }, crowd),
      )
      const statuses = await Promise.all([...sent, sleep(LEAST_REFILL_MS)])
      const admitted = (await state()).admitted_requests - before
      if (admitted !== requests) throw new Error(`the upstream was not emptied: ${new Set(statuses)}`)
      return (performance.now() - startedAt) / 1000
    },
  }
}

function limitsOf(options: UpstreamOptions): Record<string, string | number | string[]> {
  const { requests_per_minute: rpm, tokens_per_minute: tpm } = LIMITS
  const family = 'family' in options ? options.family : undefined
  const keys = 'keys' in options ? options.keys : undefined
  if (keys !== undefined)
    return { key: Object.entries(keys).map(([key, share]) => `${key}:rpm=${rpm * share}:tpm=${tpm * share}`) }
  return family === undefined ? { rpm, tpm } : { family: `all=${family}:rpm=${rpm}:tpm=${tpm}` }
}
