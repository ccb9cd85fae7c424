import { Dispatcher } from 'undici'
import type { CallType } from '../lib/call-type.ts'
import type { JsonObject } from '../lib/json.ts'
import { withMembers } from '../lib/json-source.ts'
import type { Provider, ProviderAnswer, ProviderFailure } from './provider.ts'
import { createProvider, type ProviderSettings } from './registry.ts'

/** A request that is a line of a provider's batch. */
export type LineRequest = {
  type: CallType
  /** The provider's own name of the model. */
  model: string
  body: JsonObject
}

/**
 * Writes requests as lines of a provider's own batch, and reads the answers. A line is what a call would have sent, and its answer is
 * read as a call's would be: both go through the provider's adapter, with nothing behind it.
 */
export type BatchLines = {
  /** The request's body as the provider takes it, JSON; or why it cannot be sent. */
  write(request: LineRequest): Promise<{ text: string } | ProviderFailure>
  /** The answer to a line, of which a batch tells status and body. */
  read(request: LineRequest, status: number, body: string): Promise<ProviderAnswer>
}

/** Members that ask for another way than the batch; the rest goes as it is. */
const NOT_FOR_BATCHES = {
  stream: undefined,
  stream_options: undefined,
  service_tier: undefined,
  background: undefined,
}

/** Long enough: nothing is waited for. */
const TIMEOUT_MS = 60_000

/** @param now unix milliseconds */
export function createBatchLines(name: string, settings: ProviderSettings, now: () => number): BatchLines {
  const unsent: ProviderFailure = {
    ok: false,
    class: 'final',
    code: 'not_writable',
    message: 'the request could not be written as a line of a batch',
    status: null,
    ambiguous: false,
    input: false,
    feedback: {},
  }

  /** One call through the adapter; answers what it sent as well. */
  async function exchange(
    { type, model, body }: LineRequest,
    answer: { status: number; body: string },
  ): Promise<{ sent: string | null; answer: ProviderAnswer }> {
    const stage = new Stage(answer)
    const provider: Provider = createProvider(name, settings, now, { dispatcher: stage })
    const members = Object.keys(NOT_FOR_BATCHES).filter((member) => Object.hasOwn(body, member))
    const plain = members.length === 0 ? body : withMembers(body, NOT_FOR_BATCHES as unknown as JsonObject)
    const { signal } = new AbortController()
    const read = await provider.call({ type, model, body: plain, signal, timeoutMs: TIMEOUT_MS })
    return { sent: stage.sent, answer: read }
  }

  return {
    async write(request) {
      // What is answered here does not matter: a refusal is none of the input, so that nothing is sent twice.
      const { sent, answer } = await exchange(request, { status: 503, body: '{}' })
      if (sent !== null) return { text: sent }
      return answer.ok ? unsent : answer
    },
    async read(request, status, body) {
      return (await exchange(request, { status, body })).answer
    },
  }
}

/** Stands where the connection would be: keeps what is sent, and answers what it was given. */
class Stage extends Dispatcher {
  sent: string | null = null
  readonly #answer: { status: number; body: string }

  constructor(answer: { status: number; body: string }) {
    super()
    this.#answer = answer
  }

  override dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    this.sent ??= String(options.body ?? '')
    const controller = new StageController()
    const { status, body } = this.#answer
    queueMicrotask(() => {
      handler.onRequestStart?.(controller, {})
      if (controller.aborted) return
      handler.onResponseStart?.(controller, status, { 'content-type': 'application/json' }, '')
      handler.onResponseData?.(controller, Buffer.from(body))
      handler.onResponseEnd?.(controller, {})
    })
    return true
  }

  override async close(): Promise<void> {}
  override async destroy(): Promise<void> {}
}

/** All of an answer is there at once: there is nothing to pause. */
class StageController implements Dispatcher.DispatchController {
  aborted = false
  paused = false
  reason: Error | null = null
  rawHeaders = null
  rawTrailers = null

  abort(reason: Error): void {
    this.aborted = true
    this.reason = reason
  }
  pause(): void {}
  resume(): void {}
}
