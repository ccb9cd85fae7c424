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

/** `pause` and `resume`: of lanes, or of all lanes of a provider. Shows their new state. */
export async function runPause(
  terminal: Terminal,
  change: 'pause' | 'resume',
  lanes: readonly string[],
  options: PauseOptions,
): Promise<ExitCode> {
  const { provider, reason } = options
  if ((lanes.length === 0) === (provider === undefined))
    throw new CliError(ExitCode.usage, 'name one or more lanes, or a provider with --provider')
  const client = connect(terminal, options, { patienceMs: options.patience })
  const which = provider === undefined ? { lanes } : { provider }
  const how = change === 'resume' ? {} : { for_ms: options.for, reason }
  const { data } = await client.json<{ data: LaneView[] }>('POST', `/v1/lanes/${change}`, {
    body: JSON.stringify({ ...which, ...how }),
    headers: { 'content-type': 'application/json' },
  })
  if (options.json) await terminal.write(data.map((one) => `${JSON.stringify(one)}\n`).join(''))
  else await terminal.write(renderLanes(data, viewOf(terminal)))
  return ExitCode.ok
}
