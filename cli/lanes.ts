import { ExitCode } from './exit.ts'
import type { LaneView } from './lane-view.ts'
import { renderLanes } from './render-lanes.ts'
import { connect, type ServerOptions, type Terminal } from './terminal.ts'

export type LanesOptions = ServerOptions & { json?: boolean; watch?: number | boolean; patience: number }

const DEFAULT_WATCH_SECONDS = 2
/** Clears the screen and moves the cursor to the upper left corner. */
const CLEAR = '\x1b[2J\x1b[H'

/** `lanes`: the state of each lane; with `--watch`, repeated until interrupted. */
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

/** The terminal's properties that the table of lanes needs. */
export function viewOf({ style, stdout, now }: Terminal) {
  return { style, width: stdout.isTTY ? stdout.columns : undefined, now: now() }
}
