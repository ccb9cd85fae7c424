import { formatDuration } from './format.ts'
import type { LaneView } from './lane-view.ts'
import { renderTable, widthOf } from './table.ts'
import type { Terminal } from './terminal.ts'

type State = { text: string; colour: 'green' | 'yellow' | 'red' | null }
type Row = { name: string; numbers: string[]; state: State }
type Part = NonNullable<LaneView['shared_limits']>[number] | NonNullable<LaneView['sources']>[number]

const HEAD = ['USED', 'WAITING', 'IN FLIGHT', 'P50', 'P95', '429S']
const STATE_HEAD = '  STATE'
/** A state that does not fit into its line is on the next line, indented this much. */
const INDENT = 4

/**
 * The table of `lanes`: each lane, and below it its unavailable service tiers, its shared limits and its sources. Names that would make a
 * line too long are on separate lines.
 *
 * @param width columns of the terminal; undefined: no terminal
 * @param now Unix ms
 */
export function renderLanes(
  lanes: LaneView[],
  { style, width, now }: { style: Terminal['style']; width: number | undefined; now: number },
): string {
  const columns = widthOf(width === undefined ? {} : { columns: width })
  const rows = lanes.flatMap((lane) => [
    { name: lane.id, numbers: numbersOfLane(lane), state: stateOfLane(lane) },
    ...(lane.tiers ?? []).flatMap((tier): Row[] => {
      const { state } = tier.breaker
      const shown = state === 'closed' ? stateOfPart(tier) : brokenBy(state)
      return shown.colour === 'green'
        ? []
        : [{ name: `  tier ${tier.name}`, numbers: HEAD.map(() => ''), state: shown }]
    }),
    ...(lane.shared_limits ?? []).map((limit): Row => {
      const holds = lane.held_back_by?.kind === 'shared_limit' && lane.held_back_by.name === limit.name
      const own: State | null = holds ? { text: 'holds the lane back', colour: 'yellow' } : null
      return {
        name: `  limit ${limit.name}`,
        numbers: numbersOfPart(limit),
        state: own ?? stateOfPart(limit),
      }
    }),
    ...(lane.sources ?? []).map(
      (source): Row => ({
        name: `  source ${source.name}`,
        numbers: numbersOfPart(source),
        state: shutOrBroken(source, now) ?? stateOfPart(source),
      }),
    ),
  ])
  const right = HEAD.map(() => 'right' as const)
  const [head = '', ...lines] = renderTable([HEAD, ...rows.map(({ numbers }) => numbers)], right).split('\n')
  const longest = columns - STATE_HEAD.length - head.length - 2
  const names = renderTable(
    [['LANE'], ...rows.map(({ name }) => [name.length > longest ? '' : name])],
    ['left'],
  )
  const [namesHead = '', ...nameLines] = names.split('\n')
  const nameWidth = Math.max(namesHead.length, ...nameLines.map((line) => line.length))
  const text = [`${namesHead.padEnd(nameWidth)}  ${head}${STATE_HEAD}`]
  for (const [index, { name, state }] of rows.entries()) {
    if (name.length > longest) text.push(name)
    const line = `${nameLines[index]!.padEnd(nameWidth)}  ${lines[index]!}`
    const paint = (part: string) => (state.colour === null ? part : style(state.colour, part))
    if (line.length + 2 + state.text.length <= columns) text.push(`${line}  ${paint(state.text)}`)
    else
      text.push(
        line,
        ...wrap(state.text, columns - INDENT).map((part) => `${' '.repeat(INDENT)}${paint(part)}`),
      )
  }
  return `${text.join('\n')}\n`
}

function numbersOfLane(lane: LaneView): string[] {
  return [
    formatShare(lane.utilisation),
    String(lane.backlog.waiting + lane.backlog.delayed),
    String(lane.in_flight),
    formatMs(lane.latency_ms.p50),
    formatMs(lane.latency_ms.p95),
    String(lane.throttled),
  ]
}

function numbersOfPart({ utilisation, in_flight, throttled }: Part): string[] {
  return [formatShare(utilisation), '', String(in_flight), '', '', String(throttled)]
}

function stateOfLane(lane: LaneView): State {
  if (lane.breaker.state !== 'closed') return brokenBy(lane.breaker.state)
  const state = stateOfPart(lane)
  if (state.colour !== 'green') return state
  const isIdle = lane.backlog.waiting === 0 || lane.waiting_for === null
  return isIdle ? state : { text: `waits for ${lane.waiting_for}`, colour: null }
}

function stateOfPart(part: Pick<Part, 'speed' | 'paused_until' | 'paused_reason'>): State {
  if (part.paused_until !== null || part.paused_reason !== null)
    return { text: `paused: ${part.paused_reason ?? 'no reason given'}`, colour: 'yellow' }
  if (part.speed < 1) return { text: `slowed to ${Math.round(part.speed * 100)}%`, colour: 'yellow' }
  return { text: 'healthy', colour: 'green' }
}

function shutOrBroken(
  { shut, breaker }: NonNullable<LaneView['sources']>[number],
  now: number,
): State | null {
  if (shut === null) return breaker.state === 'closed' ? null : brokenBy(breaker.state)
  const left = (Date.parse(shut.until) - now) / 1000
  const how = left > 0 ? `shut for ${formatDuration(left)}` : 'shut, one call at a time tries it'
  return { text: `${how}: ${shut.reason}`, colour: 'red' }
}

function brokenBy(state: 'closed' | 'open' | 'half_open'): State {
  return { text: state === 'half_open' ? 'broken, one call at a time tries it' : 'broken', colour: 'red' }
}

/** Breaks text into lines of at most `width` characters, at spaces if possible. */
function wrap(text: string, width: number): string[] {
  const lines: string[] = []
  for (let left = text; left !== ''; ) {
    const at = left.length <= width ? left.length : left.lastIndexOf(' ', width)
    lines.push(left.slice(0, at > 0 ? at : width))
    left = left.slice(at > 0 ? at : width).trimStart()
  }
  return lines
}

function formatShare(share: number): string {
  return `${Math.round(share * 100)}%`
}

function formatMs(ms: number | null): string {
  if (ms === null) return '-'
  return ms < 10_000 ? `${Math.round(ms)} ms` : `${Math.round(ms / 1000)} s`
}
