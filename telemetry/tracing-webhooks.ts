import type { SendOutcome, WebhookSender } from '../webhooks/send.ts'
import type { Tracing } from './tracing.ts'
import { serverOf } from './tracing-server.ts'

/** The same sender, with a span for each attempt, in the trace of the webhook's job. */
export function traceWebhooks(sender: WebhookSender, tracing: Tracing): WebhookSender {
  return {
    ...sender,
    async send(webhook) {
      // Its path and query may hold what only the receiver is to know.
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
