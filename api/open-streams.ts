import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Scope } from '../config/scopes.ts'
import type { Keyring } from '../config/tenants.ts'
import { callerOf, findTenant, mayUse, readActing, readKeyHeader } from './auth.ts'
import { ApiError } from './errors.ts'

/** How often open streams are checked against a changed keyring, ms. A removed key may serve for at most 5 s. */
const CHECK_MS = 1_000

export type OpenStreams = {
  /**
   * Counts a stream for its caller's tenant until the answer is closed. A stream outlives the check at its beginning, so the signal aborts
   * when the key is no longer valid. Throws `rate_limited` when the tenant has too many.
   */
  open(request: FastifyRequest, reply: FastifyReply): AbortSignal
  /** The same for a connection that is not an answer, until `release`. */
  hold(holder: StreamHolder): { signal: AbortSignal; release(): void }
}

export type StreamHolder = {
  /** The value of the `Authorization` header, or its equivalent. */
  authorization: string | undefined
  /** The name of the tenant whose key was sent. */
  caller: string
  /** The scope that the key needs. */
  needs: Scope
}

type OpenStream = StreamHolder & { revoked: AbortController }

/** The event streams of this process. */
export function createOpenStreams(deps: {
  keyring: () => Keyring
  most: () => number
  /** Called when a stream opens (1) or closes (-1). */
  onChange: (change: 1 | -1) => void
}): OpenStreams {
  const tenants = new Map<string, Set<OpenStream>>()
  let checked = deps.keyring()
  let timer: NodeJS.Timeout | undefined

  function hold(holder: StreamHolder): ReturnType<OpenStreams['hold']> {
    const { caller } = holder
    const streams = tenants.get(caller) ?? new Set()
    const most = deps.most()
    if (streams.size >= most) {
      throw new ApiError('rate_limited', `${most} event streams are already open; close some`, {
        retryAfterSeconds: 5,
      })
    }
    const stream = { ...holder, revoked: new AbortController() }
    tenants.set(caller, streams.add(stream))
    deps.onChange(1)
    if (timer === undefined) startChecking()
    return {
      signal: stream.revoked.signal,
      release() {
        if (!streams.delete(stream)) return
        deps.onChange(-1)
        if (streams.size === 0 && tenants.get(caller) === streams) tenants.delete(caller)
        if (tenants.size === 0) stopChecking()
      },
    }
  }

  function open(request: FastifyRequest, reply: FastifyReply): AbortSignal {
    // A client that has disconnected will not emit `close` again.
    if (reply.raw.destroyed) return AbortSignal.abort()
    const { signal, release } = hold({
      authorization: readKeyHeader(request),
      caller: callerOf(request).name,
      needs: readActing(request) === null ? neededBy(request) : 'admin',
    })
    reply.raw.once('close', release)
    return signal
  }

  function startChecking(): void {
    checked = deps.keyring()
    timer = setInterval(check, CHECK_MS)
    timer.unref()
  }

  function stopChecking(): void {
    clearInterval(timer)
    timer = undefined
  }

  function check(): void {
    const keyring = deps.keyring()
    if (keyring === checked && !keyring.expires) return
    checked = keyring
    for (const [name, streams] of tenants) {
      for (const { authorization, needs, revoked } of streams) {
        const caller = findTenant(authorization, keyring)
        if (caller?.name !== name || !mayUse(caller, needs, true)) revoked.abort()
      }
    }
  }

  return { open, hold }
}

function neededBy(request: FastifyRequest): Scope {
  const { access = 'admin' } = request.routeOptions.config
  return access === 'public' ? 'read' : access
}
