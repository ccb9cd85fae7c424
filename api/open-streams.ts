import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Scope } from '../config/scopes.ts'
import type { Keyring } from '../config/tenants.ts'
import { callerOf, findTenant, mayUse, readActing, readKeyHeader } from './auth.ts'
import { ApiError } from './errors.ts'

/** How often open streams are checked against a changed keyring, in ms: a removed key may serve for at most 5 s. */
const CHECK_MS = 1_000

export type OpenStreams = {
  /**
   * Counts a stream until its answer is closed, for the tenant whose key was sent. The signal aborts when that key is no longer valid,
   * because a stream outlives the check at its beginning. Throws `rate_limited` when the tenant has too many.
   */
  open(request: FastifyRequest, reply: FastifyReply): AbortSignal
  /** The same for a connection that is not an answer, until it is released. */
  hold(holder: StreamHolder): { signal: AbortSignal; release(): void }
}

export type StreamHolder = {
  /** What was sent as `Authorization`, or would have been. */
  authorization: string | undefined
  /** The name of the tenant whose key that is. */
  caller: string
  /** What the key has to grant. */
  needs: Scope
}

type OpenStream = StreamHolder & { revoked: AbortController }

/** The event streams of this process. */
export function createOpenStreams(deps: {
  keyring: () => Keyring
  most: () => number
  /** One more is open, or one less. */
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
    // A client that is gone already will not close a second time.
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
