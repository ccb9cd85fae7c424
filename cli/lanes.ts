import { ExitCode } from './exit.ts'
import { renderLanes } from './render-lanes.ts'
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
  shared_limits?: (BucketView & { rates: LaneView['rates'] })[]
  sources?: (BucketView & {
    shut: { until: string; reason: string } | null
    breaker: { state: 'closed' | 'open' | 'half_open' }
  })[]
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

/** What a source and a shared limit of a lane have in common. */
type BucketView = {
  name: string
  speed: number
  utilisation: number
  in_flight: number
  paused_until: string | null
  paused_reason: string | null
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
      await terminal.write(clear + renderLanes(data, viewOf(terminal)))
    }
    if (!seconds) return ExitCode.ok
    await terminal.sleep(seconds * 1000)
  }
}

/** What the table of lanes has to know of the terminal. */
export function viewOf({ style, stdout, now }: Terminal) {
  return { style, width: stdout.isTTY ? stdout.columns : undefined, now: now() }
}
