/**
 * Submits a streamed chat and shows its text as it comes. The package `eventsource` connects again by itself, with
 * `Last-Event-ID`, to whichever API process answers: no event is missed and none comes twice.
 *
 *   node examples/typescript/follow-events.ts "Why is the sky blue?"
 */
import { EventSource } from 'eventsource'

const {
  SLUICE_URL: url = 'http://127.0.0.1:8080',
  SLUICE_MODEL: model = 'sim/chat-small',
  SLUICE_KEY: key,
} = process.env
const authorization: Record<string, string> = key ? { authorization: `Bearer ${key}` } : {}
const question = process.argv[2] ?? 'Why is the sky blue?'

const response = await fetch(`${url}/v1/jobs`, {
  method: 'POST',
  headers: { ...authorization, 'content-type': 'application/json' },
  body: JSON.stringify({
    type: 'chat',
    cache: 'off', // a kept answer comes whole, without a stream
    body: { model, stream: true, messages: [{ role: 'user', content: question }] },
  }),
})
if (!response.ok) throw new Error(`${response.status}: ${await response.text()}`)
const { id } = (await response.json()) as { id: string }

const events = new EventSource(`${url}/v1/jobs/${id}/events`, {
  fetch: (input, init) => fetch(input, { ...init, headers: { ...init.headers, ...authorization } }),
})
const log = (event: MessageEvent) => console.log(`${event.lastEventId} ${event.type}`)

events.addEventListener('job.queued', log)
events.addEventListener('job.started', log)
// What an attempt that failed had streamed is void; the next one begins anew.
events.addEventListener('job.retrying', log)
events.addEventListener('job.delta', ({ data }) => {
  const { chunk } = JSON.parse(data) as { chunk: { choices?: { delta?: { content?: string } }[] } }
  process.stdout.write(chunk.choices?.[0]?.delta?.content ?? '')
})
for (const end of ['job.completed', 'job.failed', 'job.cancelled']) {
  events.addEventListener(end, (event) => {
    const { job } = JSON.parse(event.data) as { job: { status: string; usage: object | null } }
    process.stdout.write('\n')
    log(event)
    console.log(job.status, job.usage)
    events.close()
    if (job.status !== 'completed') process.exitCode = 1
  })
}
