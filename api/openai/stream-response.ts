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
  /** Events up to this number are skipped. */
  after: number
  /** Aborts when the reader has disconnected. */
  signal: AbortSignal
}

/**
 * Streams a response independently of its readers: from any event on, in any process, while it runs and afterwards. A reader that
 * disconnects changes nothing.
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
    // The headers are sent with the first text.
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
