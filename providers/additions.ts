import { asksForKnownForm } from '../lib/embedding-input.ts'
import { isJsonObject, type JsonObject } from '../lib/json.ts'
import type { ProviderAnswer, ProviderRequest } from './provider.ts'

/** A member that Sluice adds to a request although the client did not ask for it. */
export type Addition = 'stream_options' | 'encoding_format'

/** Which additions each model refused, and for how long that is remembered. */
export type RefusedAdditions = {
  /** Returns the additions that the request may get. */
  choose(request: ProviderRequest): Addition[]
  /** Returns the additions that may have caused a failure, by the wording of the error. */
  blame(added: readonly Addition[], refusal: ProviderAnswer, words: string): Addition[]
  /** Stops adding these for an hour. */
  remember(request: ProviderRequest, refused: readonly Addition[]): void
}

/** How long a refusal is remembered, ms. Servers are upgraded, so the addition is tried again later. */
const REMEMBERED_MS = 60 * 60 * 1000
/** At most this many refusals are remembered. The oldest are dropped first. */
const MAX_MODELS = 1000

/** How an error names the addition that it refuses. */
const NAMES: Record<Addition, RegExp> = {
  stream_options: /stream[_ ]?options?|include_usage/i,
  encoding_format: /encoding[_ ]?format|base64/i,
}
/** How an error is worded that refuses a member without naming it. */
const UNNAMED =
  /extra inputs?|not permitted|(?:unknown|unrecogni[sz]ed|unexpected|additional|unsupported|extra) (?:request )?(?:arguments?|fields?|parameters?|propert(?:y|ies)|members?|keys?)/i

/**
 * Remembers in this process which additions each model refuses. A refusal by one model says nothing about another.
 *
 * @param now unix milliseconds
 */
export function createRefusedAdditions(now: () => number): RefusedAdditions {
  const refused = new Map<string, number>()

  function isRefused(request: ProviderRequest, addition: Addition): boolean {
    const key = `${addition} ${request.type} ${request.model}`
    const until = refused.get(key)
    if (until === undefined || until > now()) return until !== undefined
    refused.delete(key)
    return false
  }

  return {
    choose: (request) => listAdditions(request).filter((addition) => !isRefused(request, addition)),
    blame(added, refusal, words) {
      if (refusal.ok || refusal.status === null || added.length === 0) return []
      const { status } = refusal
      if (status === 401 || status === 403 || refusal.class === 'throttled') return []
      const named = added.filter((addition) => NAMES[addition].test(words))
      if (named.length > 0) return named
      return (status === 400 || status === 422) && UNNAMED.test(words) ? [...added] : []
    },
    remember(request, additions) {
      for (const addition of additions) {
        const key = `${addition} ${request.type} ${request.model}`
        refused.delete(key)
        refused.set(key, now() + REMEMBERED_MS)
      }
      for (const key of refused.keys()) {
        if (refused.size <= MAX_MODELS) break
        refused.delete(key)
      }
    },
  }
}

function listAdditions({ type, body }: ProviderRequest): Addition[] {
  if ((type === 'chat' || type === 'completion') && body.stream === true && !asksForUsage(body))
    return ['stream_options']
  return type === 'embedding' && isPacked(body) ? ['encoding_format'] : []
}

/** Whether vectors travel as base64, a quarter of the size. Clients still get the form that they asked for. */
export function isPacked(body: JsonObject): boolean {
  return body.encoding_format === 'base64' && asksForKnownForm(body)
}

function asksForUsage(body: JsonObject): boolean {
  return isJsonObject(body.stream_options) && body.stream_options.include_usage === true
}
