import { toHeaders } from '../client/events.ts'
import { followStream } from '../client/follow-stream.ts'
import { FIRST_PATIENCE_MS } from './client.ts'
import { describeEvent, type EventData } from './describe-event.ts'
import { ExitCode } from './exit.ts'
import { connectSeen, findOwner } from './tenants.ts'
import type { ServerOptions, Terminal } from './terminal.ts'

export type TailOptions = ServerOptions & { json?: boolean; lastEventId?: string; patience: number }

/** Pause between the end of a stream and the next request, ms. */
const PAUSE_MS = 200

/** `tail JOB|GROUP`: shows all events until the end, and reconnects when a connection breaks. Exit code 1 if a job did not complete. */
export async function runTail(terminal: Terminal, what: string, options: TailOptions): Promise<ExitCode> {
  let patience = Math.min(options.patience, FIRST_PATIENCE_MS)
  const place = `/v1/${what.startsWith('job_') ? 'jobs' : 'groups'}/${encodeURIComponent(what)}`
  const seen = await connectSeen(terminal, options, { patienceMs: options.patience }, patience)
  const { client } = await findOwner(seen, place, what)
  /** Jobs whose last end was not completion. A retry may still complete them. */
  const unfinished = new Set<string>()
  const batches = followStream({
    open(lastEventId, signal) {
      const headers = toHeaders(lastEventId)
      return client.open(`${place}/events`, { headers, patienceMs: patience, signal })
    },
    onOpen: () => {
      patience = options.patience
    },
    // A stream that ended with an error resumes after the last event. One that ended without an error says next time whether it was
    // complete.
    async goOn({ how, error }) {
      if (how === 'unopened') throw error
      await terminal.sleep(PAUSE_MS)
      return true
    },
    after: options.lastEventId,
    signal: terminal.signal,
  })
  for await (const events of batches) {
    for (const { id, type: event, data: text } of events) {
      const data = JSON.parse(text) as EventData
      await terminal.write(
        options.json ? `${JSON.stringify({ id, event, data })}\n` : describeEvent(terminal, event, data),
      )
      if (event === 'job.completed') unfinished.delete(data.job_id)
      if (event === 'job.failed' || event === 'job.cancelled') unfinished.add(data.job_id)
    }
  }
  return unfinished.size === 0 ? ExitCode.ok : ExitCode.failed
}
