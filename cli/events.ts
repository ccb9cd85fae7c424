import { type AllEvents, allEventsPath, toHeaders } from '../client/events.ts'
import { followStream } from '../client/follow-stream.ts'
import { FIRST_PATIENCE_MS } from './client.ts'
import { describeEvent, type EventData } from './describe-event.ts'
import { CliError, ExitCode } from './exit.ts'
import { connectSeen, type Seen, withTenant } from './tenants.ts'
import type { ServerOptions, Terminal } from './terminal.ts'

export type EventsOptions = ServerOptions & {
  json?: boolean
  patience: number
  type?: AllEvents['type']
  group?: string
  lane?: string
  flow?: string
  durable?: string
  event?: string
  deltas?: boolean
  fromFirst?: boolean
  lastEventId?: string
}

/** Pause between the end of a stream and the next connection, ms. */
const PAUSE_MS = 200

/** `events`: follows the events of all jobs until interrupted, and reconnects when a connection breaks. */
export async function runEvents(terminal: Terminal, options: EventsOptions): Promise<ExitCode> {
  const { patience, lastEventId, fromFirst, json } = options
  const seen = await connectSeen(
    terminal,
    options,
    { patienceMs: patience },
    Math.min(patience, FIRST_PATIENCE_MS),
  )
  if (lastEventId !== undefined && seen.length > 1)
    throw new CliError(ExitCode.usage, '--last-event-id: belongs to one tenant; name it with --tenant')
  const { type, group, lane, flow, durable, event, deltas } = options
  const filter: AllEvents = {
    all: true,
    ...(type && { type }),
    ...(group && { group }),
    ...(lane && { lane }),
    ...(flow && { flow }),
    ...(durable && { durable }),
    ...(event && { event }),
    ...(deltas && { deltas }),
  }
  const path = allEventsPath(filter, lastEventId === undefined && !fromFirst ? 'now' : undefined)

  async function follow({ tenant, client }: Seen): Promise<void> {
    const batches = followStream({
      open: (id, signal) => client.open(path, { headers: toHeaders(id), signal }),
      async goOn({ how, error }) {
        if (how === 'unopened') throw error
        await terminal.sleep(PAUSE_MS)
        return true
      },
      after: lastEventId,
      signal: terminal.signal,
    })
    for await (const events of batches) {
      for (const { id, type: name, data: text } of events) {
        const data = JSON.parse(text) as EventData
        const line = json
          ? `${JSON.stringify(withTenant(tenant, { id, event: name, data }))}\n`
          : describeEvent(terminal, name, data, tenant)
        await terminal.write(line)
      }
    }
  }

  await Promise.all(seen.map(follow))
  return ExitCode.ok
}
