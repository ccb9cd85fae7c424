import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Keyring } from '../config/tenants.ts'
import { callerOf, findTenant, readActing, readKeyHeader } from './auth.ts'
import { ApiError } from './errors.ts'

/** How often open streams are held against a changed keyring, in ms: a key that is gone is to serve 5 s at the most. */
const CHECK_MS = 1_000

export type OpenStreams = {
  /**
   * Counts a stream until its answer is closed, for the tenant whose key was sent. The signal aborts when the key it was asked for with is good no more, for
   * a stream outlives what was checked at its beginning. Throws `rate_limited` when the tenant has too many.
   */
  open(request: FastifyRequest, reply: FastifyReply): AbortSignal
}

type OpenStream = { request: FastifyRequest; needsAdmin: boolean; revoked: AbortController }

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

  function open(request: FastifyRequest, reply: FastifyReply): AbortSignal {
    const { name } = callerOf(request)
    const streams = tenants.get(name) ?? new Set()
    const most = deps.most()
    if (streams.size >= most) {
      throw new ApiError('rate_limited', `${most} event streams are open already; close some`, {
        retryAfterSeconds: 5,
      })
    }
    const needsAdmin = request.routeOptions.config.access === 'admin' || readActing(request) !== null
    const stream = { request, needsAdmin, revoked: new AbortController() }
    // A client that is gone already will not close a second time.
    if (reply.raw.destroyed) return AbortSignal.abort()
    tenants.set(name, streams.add(stream))
    deps.onChange(1)
    reply.raw.once('close', () => {
      deps.onChange(-1)
      streams.delete(stream)
      if (streams.size === 0) tenants.delete(name)
      if (tenants.size === 0) stopChecking()
    })
    if (timer === undefined) startChecking()
    return stream.revoked.signal
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
    if (keyring === checked) return
    checked = keyring
    for (const [name, streams] of tenants) {
      for (const { request, needsAdmin, revoked } of streams) {
        const caller = findTenant(readKeyHeader(request), keyring)
        if (caller?.name !== name || (needsAdmin && !caller.admin)) revoked.abort()
      }
    }
  }

  return { open }
}
