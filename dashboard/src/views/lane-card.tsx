import { Chart } from '../components/chart.tsx'
import { Chip } from '../components/chip.tsx'
import { Gauge } from '../components/gauge.tsx'
import { Countdown } from '../components/time.tsx'
import { countOf, formatCount, formatDuration, formatRate, formatShare } from '../format.ts'
import { useApp } from '../state/app.ts'
import { type Dimension, type LaneHistory, readSlots, readUse } from '../state/history.ts'
import { judgeLane, readPauseEnd } from '../state/lane-health.ts'
import { linkToJobs, linkToLane } from '../state/route.ts'
import type { Lane } from '../wire.ts'
import { LaneActions } from './lane-actions.tsx'

/** One lane at a glance: its health, the use of its limits now and lately, and what waits. */
export function LaneCard({ lane }: { lane: Lane }) {
  const { feed } = useApp()
  const history = feed.history.lane(lane.id)
  const { tone } = judgeLane(lane)
  return (
    <article class={`panel lane ${tone}`} aria-label={`Lane ${lane.id}`}>
      <div class="lane-head">
        <h3>
          <a href={linkToLane(lane.id)}>{lane.id}</a>
        </h3>
        <LaneState lane={lane} />
        <LaneActions lane={lane} />
      </div>
      <div class="lane-body">
        {history === null ? <div /> : <UseChart lane={lane} history={history} height={96} />}
        <LaneGauges lane={lane} />
      </div>
      <LaneFacts lane={lane} />
    </article>
  )
}

/** A lane's health, with its detail and the end of its pause. */
export function LaneState({ lane }: { lane: Lane }) {
  const { now } = useApp()
  const { tone, label, detail } = judgeLane(lane)
  const end = readPauseEnd(lane, now.value)
  return (
    <p class="lane-state">
      <Chip tone={tone} label={label} /> <span class="muted">{detail}</span>
      {end === null ? null : end === Number.POSITIVE_INFINITY ? (
        <span class="muted"> · until somebody resumes it</span>
      ) : (
        <span class="muted">
          {' '}
          ·{' '}
          <b class="num">
            <Countdown to={end} />
          </b>{' '}
          left
        </span>
      )}
    </p>
  )
}

/** The use of each limit over time, one line each. */
export function UseChart({ lane, history, height }: { lane: Lane; history: LaneHistory; height: number }) {
  const lines = [
    { name: 'Requests', values: history.requests, color: 'line-1', isFilled: true },
    { name: 'Tokens', values: history.tokens, color: 'line-2' },
    { name: 'Call slots', values: history.slots, color: 'line-3' },
  ].filter(({ values }) => values.some((value) => value !== null))
  const shown =
    lines.length > 0
      ? lines
      : [{ name: 'Calls under way', values: history.inFlight, color: 'line-1', isFilled: true }]
  const isShare = lines.length > 0
  return (
    <Chart
      label={isShare ? `Share of its limits that ${lane.id} uses` : `Calls under way in ${lane.id}`}
      at={history.at}
      lines={shown}
      shade={history.paused}
      format={isShare ? formatShare : formatCount}
      reach={1}
      height={height}
    />
  )
}

const dimensions: { dimension: Dimension; name: string }[] = [
  { dimension: 'requests', name: 'Requests' },
  { dimension: 'tokens', name: 'Tokens' },
  { dimension: 'input_tokens', name: 'Input tokens' },
  { dimension: 'output_tokens', name: 'Output tokens' },
]

/** A gauge for each limit of a lane. */
export function LaneGauges({ lane }: { lane: Lane }) {
  const slots = readSlots(lane)
  const isWaiting = lane.backlog.waiting > 0
  const gauges = dimensions.map(({ dimension, name }) => {
    const use = readUse(lane, dimension)
    if (use === null) return null
    return (
      <Gauge
        key={dimension}
        name={name}
        share={use.share}
        text={`${formatRate(use.used)} of ${formatCount(use.limit)} a minute`}
        title={describeLevel(lane, dimension)}
        isBinding={isWaiting && isWaitedFor(lane, dimension)}
      />
    )
  })
  const hasNone = slots === null && gauges.every((gauge) => gauge === null)
  return (
    <div class="gauges">
      <div class="gauge-grid">
        {gauges}
        {slots === null ? null : (
          <Gauge
            name="Call slots"
            share={slots.share}
            text={`${formatCount(slots.used)} of ${formatCount(slots.limit)} at once`}
            title="Calls under way"
            isBinding={isWaiting && lane.waiting_for === 'concurrency'}
          />
        )}
        {hasNone ? <p class="muted">No limits are configured for this lane.</p> : null}
      </div>
    </div>
  )
}

/** A lane's `waiting_for` says `tokens` for all kinds of tokens. */
function isWaitedFor(lane: Lane, dimension: Dimension): boolean {
  return dimension === 'requests' ? lane.waiting_for === 'requests' : lane.waiting_for === 'tokens'
}

/** The pacing level in words: how much may be sent now, or how long a debt lasts. */
export function describeLevel(lane: Lane, dimension: Dimension): string {
  const level = lane.levels[dimension]
  const rate = lane.rates[dimension]
  if (level === null || rate === null) return ''
  if (level >= 0) return `level ${formatRate(level)}: the next call may leave`
  const wait = (-level * 60_000) / (rate * lane.speed)
  return `level −${formatRate(-level)}: the next call may leave in ${formatDuration(wait)}`
}

function LaneFacts({ lane }: { lane: Lane }) {
  const { backlog, latency_ms: latency, learned } = lane
  const hasLearned = learned.requests !== null || learned.tokens !== null
  return (
    <dl class="facts">
      <div>
        <dt>Waiting</dt>
        <dd class="num">
          <a href={linkToJobs({ lane: lane.id, status: 'queued' })}>{countOf(backlog.waiting, 'job')}</a>
        </dd>
      </div>
      {backlog.delayed === 0 ? null : (
        <div>
          <dt>Due later</dt>
          <dd class="num">{countOf(backlog.delayed, 'job')}</dd>
        </div>
      )}
      <div>
        <dt>In flight</dt>
        <dd class="num">{countOf(lane.in_flight, 'call')}</dd>
      </div>
      <div>
        <dt title="Half of the calls, and 95 of 100, took no longer">Latency p50 / p95</dt>
        <dd class="num">
          {formatDuration(latency.p50)} / {formatDuration(latency.p95)}
        </dd>
      </div>
      <div>
        <dt title="Since the lane was first used">429s</dt>
        <dd class={`num ${lane.throttled > 0 ? 'warn-text' : ''}`}>{formatCount(lane.throttled)}</dd>
      </div>
      {hasLearned ? (
        <div>
          <dt title="The provider reports lower limits than the configured ones">Learned</dt>
          <dd class="num warn-text">
            {learned.requests === null ? null : `${formatCount(learned.requests)} requests/min `}
            {learned.tokens === null ? null : `${formatCount(learned.tokens)} tokens/min`}
          </dd>
        </div>
      ) : null}
    </dl>
  )
}
