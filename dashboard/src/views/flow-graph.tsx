import { Fragment } from 'preact'
import { linkToJob } from '../state/route.ts'
import type { FlowStep } from '../wire.ts'

const WIDTH = 168
const HEIGHT = 44
const GAP_X = 56
const GAP_Y = 16
const MARGIN = 8

/** What colour a state has; its word stands beside it. */
export const stepTones = {
  blocked: 'idle',
  waiting: 'warn',
  queued: 'idle',
  running: 'info',
  completed: 'good',
  failed: 'bad',
  skipped: 'idle',
  cancelled: 'warn',
} as const

type Place = { x: number; y: number }

/** Places each step in a column to the right of all steps that it needs, in the order of the flow. */
function layOut(steps: [string, FlowStep][]): Map<string, Place> {
  const columns = new Map<string, number>()
  const byName = new Map(steps)
  const columnOf = (name: string): number => {
    const known = columns.get(name)
    if (known !== undefined) return known
    columns.set(name, 0)
    const needs = byName.get(name)?.needs ?? []
    const column = needs.length === 0 ? 0 : 1 + Math.max(...needs.map(columnOf))
    columns.set(name, column)
    return column
  }
  const rows = new Map<number, number>()
  return new Map(
    steps.map(([name]) => {
      const column = columnOf(name)
      const row = rows.get(column) ?? 0
      rows.set(column, row + 1)
      return [name, { x: MARGIN + column * (WIDTH + GAP_X), y: MARGIN + row * (HEIGHT + GAP_Y) }]
    }),
  )
}

/** The steps of a flow as boxes, with lines to the steps that need them. The table beside it says the same in words. */
export function FlowGraph({ steps, tenant }: { steps: [string, FlowStep][]; tenant: string }) {
  const places = layOut(steps)
  const right = Math.max(...[...places.values()].map(({ x }) => x)) + WIDTH + MARGIN
  const bottom = Math.max(...[...places.values()].map(({ y }) => y)) + HEIGHT + MARGIN
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reachable by keys
    // biome-ignore lint/a11y/useSemanticElements: a region of a page, not a section of its outline
    <div class="flow-graph" role="region" aria-label="Graph" tabIndex={0}>
      <svg width={right} height={bottom} viewBox={`0 0 ${right} ${bottom}`}>
        <title>Steps and what they need</title>
        {steps.map(([name, step]) => (
          <Fragment key={name}>
            {step.needs.map((need) => (
              <Line key={need} from={places.get(need)} to={places.get(name)!} />
            ))}
          </Fragment>
        ))}
        {steps.map(([name, step]) => (
          <Node key={name} name={name} step={step} place={places.get(name)!} tenant={tenant} />
        ))}
      </svg>
    </div>
  )
}

function Line({ from, to }: { from: Place | undefined; to: Place }) {
  if (from === undefined) return null
  const [x1, y1] = [from.x + WIDTH, from.y + HEIGHT / 2]
  const [x2, y2] = [to.x, to.y + HEIGHT / 2]
  const middle = (x1 + x2) / 2
  return <path class="flow-edge" d={`M${x1} ${y1}C${middle} ${y1} ${middle} ${y2} ${x2} ${y2}`} />
}

function Node({ name, step, place, tenant }: { name: string; step: FlowStep; place: Place; tenant: string }) {
  const { total, completed, failed } = step.jobs
  const count = total > 1 ? ` ${completed + failed}/${total}` : ''
  const shown = name.length > 20 ? `${name.slice(0, 19)}…` : name
  const box = (
    <g class={`flow-step ${stepTones[step.status]}`} transform={`translate(${place.x} ${place.y})`}>
      <rect width={WIDTH} height={HEIGHT} rx="6" />
      <text x="12" y="19" class="flow-name">
        {/* The space separates the words for screen readers. */}
        {`${shown} `}
      </text>
      <text x="12" y="35" class="flow-state">
        {step.status}
        {count}
      </text>
    </g>
  )
  if (step.job_id === null) return box
  return (
    <a href={linkToJob(step.job_id, tenant)} aria-label={`${shown} ${step.status}${count}`}>
      {box}
    </a>
  )
}
