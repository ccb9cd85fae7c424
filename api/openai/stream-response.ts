import type { FastifyReply, FastifyRequest } from 'fastify'
import type { RouteContext } from '../deps.ts'
import { COMMENT, fillSilences } from '../sse.ts'
import { answerStream, describeStop } from './answer.ts'
import type { ResponseSource } from './describe-response.ts'
import { createResponseForm } from './response-form.ts'
import { encodeStream } from './stream.ts'
import { watchStored } from './watch-stored.ts'

type Reading = {
  tenant: string
  source: ResponseSource
  /** Events up to this number are known. */
  after: number
  /** Aborts when nobody reads any more. */
  signal: AbortSignal
}

/**
 * Streams a response that does not depend on who reads it: from any event on, by any process, while it runs and
 * afterwards. A reader that goes away changes nothing.
 */
export function streamResponse(
  request: FastifyRequest,
  reply: FastifyReply,
  { tenant, source, after, signal }: Reading,
  { deps, limits, streams, closing }: RouteContext,
): FastifyReply {
  const form = createResponseForm(source, after)
  const stopped = AbortSignal.any([signal, closing, streams.open(request, reply)])
  const progress = watchStored(deps.store.jobs, tenant, source.job.id, stopped)

  async function* write(): AsyncGenerator<string> {
    // Headers go out with the first text.
    yield form.open() || COMMENT
    yield* encodeStream(progress, {
      form,
      onDone() {},
      describeStop: (error) => describeStop(error, request, deps),
    })
  }
  return answerStream(
    reply,
    fillSilences(write(), (text) => text, { heartbeat: limits.heartbeat, signal }),
  )
}
