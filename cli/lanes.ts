import { ExitCode } from './exit.ts'
import { renderTable } from './table.ts'
import { connect, type ServerOptions, type Terminal } from './terminal.ts'

export type LanesOptions = ServerOptions & { json?: boolean; watch?: number | boolean; patience: number }

/** The members of `GET /v1/lanes` that are shown or planned with. */
export type LaneView = {
  id: string
  rates: {
    requests: number | null
    tokens: number | null
    input_tokens: number | null
    output_tokens: number | null
  }
  speed: number
  /** Absent: a server of an earlier release. */
  shared_limits?: { name: string; rates: LaneView['rates']; speed: number }[]
  held_back_by?: { kind: 'lane' | 'shared_limit'; name: string } | null
  utilisation: number
  used: { requests: number | null; tokens: number | null }
  backlog: { waiting: number; delayed: number; held: number }
  in_flight: number
  paused_until: string | null
  paused_reason: string | null
  waiting_for: string | null
  breaker: { state: 'closed' | 'open' | 'half_open' }
  latency_ms: { p50: number | null; p95: number | null }
  throttled: number
}

const DEFAULT_WATCH_SECONDS = 2
/** Clears the screen and goes to its upper left corner. */
const CLEAR = '\x1b[2J\x1b[H'

/** `lanes`: how each lane stands; with `--watch`, again and again until it is interrupted. */
export async function runLanes(terminal: Terminal, options: LanesOptions): Promise<ExitCode> {
  const client = connect(terminal, options, { patienceMs: options.patience })
  const seconds = options.watch === true ? DEFAULT_WATCH_SECONDS : options.watch
  for (;;) {
    const { data } = await client.json<{ data: LaneView[] }>('GET', '/v1/lanes')
    if (options.json) await terminal.write(data.map((lane) => `${JSON.stringify(lane)}\n`).join(''))
    else {
      const clear = seconds && terminal.stdout.isTTY ? CLEAR : ''
      await terminal.write(clear + renderLanes(data, terminal.style))
    }
    if (!seconds) return ExitCode.ok
    await terminal.sleep(seconds * 1000)
  }
}

/** The table of `lanes`. */
export function renderLanes(lanes: LaneView[], style: Terminal['style']): string {
  const head = ['LANE', 'USED', 'WAITING', 'IN FLIGHT', 'P50', 'P95', '429S', 'STATE']
  const rows = lanes.map((lane) => [
    lane.id,
    `${Math.round(lane.utilisation * 100)}%`,
    String(lane.backlog.waiting + lane.backlog.delayed),
    String(lane.in_flight),
    formatMs(lane.latency_ms.p50),
    formatMs(lane.latency_ms.p95),
    String(lane.throttled),
    describeState(lane, style),
  ])
  const right = 'right' as const
  return renderTable([head, ...rows], ['left', right, right, right, right, right, right, 'left'])
}

function describeState(lane: LaneView, style: Terminal['style']): string {
  if (lane.breaker.state !== 'closed') return style('red', `breaker ${lane.breaker.state.replace('_', ' ')}`)
  if (lane.paused_until !== null || lane.paused_reason !== null)
    return style('yellow', `paused: ${lane.paused_reason ?? 'no reason given'}`)
  if (lane.speed < 1) return style('yellow', `slowed to ${Math.round(lane.speed * 100)}%`)
  const isIdle = lane.backlog.waiting === 0 || lane.waiting_for === null
  return isIdle ? style('green', 'open') : `waits for ${lane.waiting_for}`
}

function formatMs(ms: number | null): string {
  return ms === null ? '-' : `${Math.round(ms)} ms`
}
