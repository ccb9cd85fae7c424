import type { SendOutcome, WebhookSender } from '../webhooks/send.ts'
import type { Tracing } from './tracing.ts'
import { serverOf } from './tracing-server.ts'

/** Wraps the sender so that each attempt gets a span, in the trace of the webhook's job. */
export function traceWebhooks(sender: WebhookSender, tracing: Tracing): WebhookSender {
  return {
    ...sender,
    async send(webhook) {
      // Path and query may contain secrets of the receiver.
      const url = URL.parse(webhook.url)
      const span = tracing.start({
        name: 'POST',
        kind: 'client',
        parent: webhook.trace,
        attributes: {
          'http.request.method': 'POST',
          ...serverOf(url),
          'sluice.delivery': webhook.id,
        },
      })
      const outcome = await sender.send({ ...webhook, trace: span.traceparent })
      span.set({ 'http.response.status_code': outcome.status ?? undefined })
      if (!outcome.delivered) span.fail(typeOf(outcome))
      span.end()
      return outcome
    },
  }
}

function typeOf({ status, error }: SendOutcome): string {
  if (status !== null) return String(status)
  return error === 'aborted' ? 'aborted' : 'connection_error'
}
