import { EventSourceParserStream } from 'eventsource-parser/stream'
import { FIRST_PATIENCE_MS } from './client.ts'
import { ExitCode } from './exit.ts'
import { formatUsd } from './format.ts'
import type { Job } from './job.ts'
import { connectSeen, findOwner } from './tenants.ts'
import type { ServerOptions, Terminal } from './terminal.ts'

export type TailOptions = ServerOptions & { json?: boolean; lastEventId?: string; patience: number }

type EventData = { job_id: string; seq: number; at: string; reason?: string; chunk?: object; job?: Job }

/** Between the end of a stream and the question whether that was all. */
const PAUSE_MS = 200

const styles: Record<string, 'green' | 'red' | 'yellow'> = {
  'job.completed': 'green',
  'job.failed': 'red',
  'job.cancelled': 'yellow',
  'job.retrying': 'yellow',
}

/** `tail JOB|GROUP`: every event to the last, over connections that break. 1 when a job did not complete. */
export async function runTail(terminal: Terminal, what: string, options: TailOptions): Promise<ExitCode> {
  let patience = Math.min(options.patience, FIRST_PATIENCE_MS)
  const place = `/v1/${what.startsWith('job_') ? 'jobs' : 'groups'}/${encodeURIComponent(what)}`
  const seen = await connectSeen(terminal, options, { patienceMs: options.patience }, patience)
  const { client } = await findOwner(seen, place, what)
  const path = `${place}/events`
  let cursor = options.lastEventId ?? ''
  /** The last ending of each job that did not complete: a retry may make it good. */
  const unfinished = new Set<string>()
  for (;;) {
    const response = await client.open(path, cursor === '' ? {} : { 'last-event-id': cursor }, patience)
    patience = options.patience
    if (response.status === 204 || response.body === null) break
    try {
      const events = response.body
        .pipeThrough(new TextDecoderStream())
        .pipeThrough(new EventSourceParserStream())
      for await (const { id, event = 'message', data: text } of events) {
        const data = JSON.parse(text) as EventData
        await terminal.write(
          options.json ? `${JSON.stringify({ id, event, data })}\n` : describe(event, data),
        )
        if (id !== undefined) cursor = id
        if (event === 'job.completed') unfinished.delete(data.job_id)
        if (event === 'job.failed' || event === 'job.cancelled') unfinished.add(data.job_id)
      }
    } catch (error) {
      terminal.signal.throwIfAborted()
      if (error instanceof SyntaxError) throw error
      // The connection broke; the next one goes on behind the last event.
    }
    await terminal.sleep(PAUSE_MS)
  }
  return unfinished.size === 0 ? ExitCode.ok : ExitCode.failed

  function describe(event: string, data: EventData): string {
    const style = styles[event]
    const name = event.padEnd(13)
    const shown = style === undefined ? name : terminal.style(style, name)
    return `${data.at}  ${data.job_id}  ${shown}  ${describeData(data)}`.trimEnd().concat('\n')
  }
}

function describeData({ job, reason, chunk }: EventData): string {
  if (job?.error) return `${job.error.code}: ${job.error.message}`
  if (job) return job.cost_usd === null ? '' : formatUsd(job.cost_usd)
  return reason ?? (chunk === undefined ? '' : JSON.stringify(chunk))
}
