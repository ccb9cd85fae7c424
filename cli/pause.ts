import { CliError, ExitCode } from './exit.ts'
import type { LaneView } from './lane-view.ts'
import { viewOf } from './lanes.ts'
import { renderLanes } from './render-lanes.ts'
import { connect, type ServerOptions, type Terminal } from './terminal.ts'

export type PauseOptions = ServerOptions & {
  json?: boolean
  patience: number
  provider?: string
  /** ms */
  for?: number
  reason?: string
}

/** `pause` and `resume`: of a lane, or of all lanes of a provider. Shows how they stand then. */
export async function runPause(
  terminal: Terminal,
  change: 'pause' | 'resume',
  lane: string | undefined,
  options: PauseOptions,
): Promise<ExitCode> {
  const { provider, reason } = options
  if ((lane === undefined) === (provider === undefined))
    throw new CliError(ExitCode.usage, 'name a lane, or a provider with --provider')
  const client = connect(terminal, options, { patienceMs: options.patience })
  const how = change === 'resume' ? {} : { for_ms: options.for, reason }
  const send = (path: string, body: object | null) =>
    client.json<unknown>('POST', path, {
      ...(body && { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
    })
  const lanes =
    lane === undefined
      ? ((await send(`/v1/lanes/${change}`, { ...how, provider })) as { data: LaneView[] }).data
      : [
          (await send(
            `/v1/lanes/${encodeURIComponent(lane)}/${change}`,
            change === 'resume' ? null : how,
          )) as LaneView,
        ]
  if (options.json) await terminal.write(lanes.map((one) => `${JSON.stringify(one)}\n`).join(''))
  else await terminal.write(renderLanes(lanes, viewOf(terminal)))
  return ExitCode.ok
}
