import { Dispatcher } from 'undici'
import type { CallType } from '../lib/call-type.ts'
import type { JsonObject } from '../lib/json.ts'
import { withMembers } from '../lib/json-source.ts'
import type { Provider, ProviderAnswer, ProviderFailure } from './provider.ts'
import { createProvider, type ProviderSettings } from './registry.ts'

/** A request that is one line of a provider's batch. */
export type LineRequest = {
  type: CallType
  /** The provider's name for the model. */
  model: string
  body: JsonObject
}

/**
 * Writes requests as lines of a provider's batch, and reads the answers. A line has the body that a call would send, and its answer is read
 * like a call's: both go through the provider's adapter, with a dispatcher in place of the network.
 */
export type BatchLines = {
  /** Returns the request's body as the provider accepts it, as JSON; or why it cannot be sent. */
  write(request: LineRequest): Promise<{ text: string } | ProviderFailure>
  /** Reads the answer to a line, of which a batch reports status and body. */
  read(request: LineRequest, status: number, body: string): Promise<ProviderAnswer>
}

/** Members that ask for another way than a batch. They are removed. */
const NOT_FOR_BATCHES = {
  stream: undefined,
  stream_options: undefined,
  service_tier: undefined,
  background: undefined,
}

/** Never reached: no network is involved. */
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

  /** Makes one call through the adapter. Also returns the body that it sent. */
  async function exchange(
    { type, model, body }: LineRequest,
    answer: { status: number; body: string },
  ): Promise<{ sent: string | null; answer: ProviderAnswer }> {
    const dispatcher = new FixedAnswerDispatcher(answer)
    const provider: Provider = createProvider(name, settings, now, { dispatcher })
    const members = Object.keys(NOT_FOR_BATCHES).filter((member) => Object.hasOwn(body, member))
    const plain = members.length === 0 ? body : withMembers(body, NOT_FOR_BATCHES as unknown as JsonObject)
    const { signal } = new AbortController()
    const read = await provider.call({ type, model, body: plain, signal, timeoutMs: TIMEOUT_MS })
    return { sent: dispatcher.sent, answer: read }
  }

  return {
    async write(request) {
      // This answer is discarded. It must be an error that is not about the input, so that the adapter does not send again.
      const { sent, answer } = await exchange(request, { status: 503, body: '{}' })
      if (sent !== null) return { text: sent }
      return answer.ok ? unsent : answer
    },
    async read(request, status, body) {
      return (await exchange(request, { status, body })).answer
    },
  }
}

/** Replaces the connection: keeps what is sent, and answers with a fixed answer. */
class FixedAnswerDispatcher extends Dispatcher {
  sent: string | null = null
  readonly #answer: { status: number; body: string }

  constructor(answer: { status: number; body: string }) {
    super()
    this.#answer = answer
  }

  override dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    this.sent ??= String(options.body ?? '')
    const controller = new FixedAnswerController()
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

/** The whole answer is there at once: there is nothing to pause. */
class FixedAnswerController implements Dispatcher.DispatchController {
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
