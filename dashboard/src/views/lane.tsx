import { useEffect, useState } from 'preact/hooks'
import { Chart, type ChartLine } from '../components/chart.tsx'
import { Empty, Loading } from '../components/empty.tsx'
import { countOf, formatCount, formatDuration, formatRate, formatShare } from '../format.ts'
import { useApp } from '../state/app.ts'
import { type LaneHistory, toLaneHistory } from '../state/history.ts'
import { decideInWords } from '../state/lane-health.ts'
import { linkToJobs } from '../state/route.ts'
import type { Lane, OverviewHistory, OverviewSample, ServiceTier } from '../wire.ts'
import { LaneActions } from './lane-actions.tsx'
import { LaneGauges, LaneState, UseChart } from './lane-card.tsx'
import { BrokenCalls, FailedJobs } from './lane-failures.tsx'
import { Limits, SharedLimits, Sources } from './lane-limits.tsx'

/** The last hours have a new sample every two minutes. */
const READ_HOURS_EVERY_MS = 60_000

/** One lane in detail. */
export function LaneView({ id }: { id: string }) {
  const { feed } = useApp()
  const overview = feed.overview.value
  if (overview === null) return <Loading />
  const lane = overview.lanes.find((one) => one.id === id)
  if (lane === undefined) {
    return (
      <>
        <h1>{id}</h1>
        <Empty title="There is no such lane.">
          <p>
            It is not configured and has no work. <a href="#/">All lanes</a>
          </p>
        </Empty>
      </>
    )
  }
  const history = feed.history.lane(id)
  return (
    <>
      <div class="page-head">
        <h1>{lane.id}</h1>
        <LaneState lane={lane} />
        <div class="buttons">
          <a href={linkToJobs({ lane: lane.id })}>Jobs of this lane</a>
          <LaneActions lane={lane} />
        </div>
      </div>
      <p class="why info">{decideInWords(lane)}</p>
      <div class="halves">
        <section class="panel" aria-labelledby="use">
          <h2 id="use">
            Use of its limits <span class="muted">last 10 minutes</span>
          </h2>
          {history === null ? null : <UseChart lane={lane} history={history} height={180} />}
        </section>
        <section class="panel" aria-labelledby="levels">
          <h2 id="levels">
            In the provider’s window <span class="muted">of {formatDuration(lane.limits.window_ms)}</span>
          </h2>
          <LaneGauges lane={lane} />
          <Facts lane={lane} />
        </section>
      </div>
      {history === null ? null : (
        <div class="thirds">
          <Charts lane={lane} history={history} />
        </div>
      )}
      <Hours lane={lane} />
      <BrokenCalls lane={lane} />
      <FailedJobs lane={lane} />
      <Limits lane={lane} />
      <SharedLimits lane={lane} />
      <Sources lane={lane} />
    </>
  )
}

function Charts({ lane, history }: { lane: Lane; history: LaneHistory }) {
  const charts: { title: string; unit: string; lines: ChartLine[]; format: (value: number) => string }[] = [
    {
      title: 'Requests',
      unit: 'a minute',
      format: formatRate,
      lines: [
        { name: 'Used', values: history.requestsPerMinute, color: 'line-1', isFilled: true },
        { name: 'Limit', values: history.requestLimit, color: 'line-limit', isDashed: true },
      ],
    },
    {
      title: 'Tokens',
      unit: 'a minute',
      format: formatCount,
      lines: [
        { name: 'Used', values: history.tokensPerMinute, color: 'line-2', isFilled: true },
        { name: 'Limit', values: history.tokenLimit, color: 'line-limit', isDashed: true },
      ],
    },
    {
      title: 'Under way and waiting',
      unit: '',
      format: formatCount,
      lines: [
        { name: 'Calls', values: history.inFlight, color: 'line-3', isFilled: true },
        { name: 'Jobs waiting', values: history.waiting, color: 'line-1' },
      ],
    },
  ]
  return charts
    .filter(({ lines }) => lines.some(({ values }) => values.some((value) => value !== null)))
    .map(({ title, unit, lines, format }) => (
      <section key={title} class="panel" aria-label={title}>
        <h2>
          {title} <span class="muted">{unit}</span>
        </h2>
        <Chart
          label={`${title} of ${lane.id} ${unit}`}
          at={history.at}
          lines={lines}
          shade={history.paused}
          format={format}
          reach={1}
          height={150}
        />
      </section>
    ))
}

function Facts({ lane }: { lane: Lane }) {
  const { backlog, breaker, latency_ms: latency } = lane
  const facts = [
    ['Waiting', countOf(backlog.waiting, 'job')],
    ['Due later', countOf(backlog.delayed, 'job')],
    ['Held by workers', countOf(backlog.held, 'job')],
    ['In flight', countOf(lane.in_flight, 'call')],
    ['Latency p50', formatDuration(latency.p50)],
    ['Latency p95', formatDuration(latency.p95)],
    ['429s ever', formatCount(lane.throttled)],
    ['Speed', formatShare(lane.speed)],
    ['Breaker', `${breaker.state.replace('_', ' ')}, ${countOf(breaker.failures, 'broken call')} in a row`],
    ...(lane.token_counting.learned === null
      ? []
      : [['Tokens count', lane.token_counting.learned === 'used' ? 'as used' : 'as estimated']]),
    ...lane.tiers.map((tier) => [`Tier ${tier.name}`, describeTier(tier)]),
    ['Provider', `${lane.provider} (${lane.kind})`],
  ]
  return (
    <dl class="facts wide">
      {facts.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd class="num">{value}</dd>
        </div>
      ))}
    </dl>
  )
}

/** The last hours, from the server's samples. */
function Hours({ lane }: { lane: Lane }) {
  const { api } = useApp()
  const [samples, setSamples] = useState<OverviewSample[]>([])
  useEffect(() => {
    const leaving = new AbortController()
    const { signal } = leaving
    const read = () =>
      api.json<OverviewHistory>('/v1/overview/history', { signal }).then(
        ({ hours }) => setSamples(hours),
        () => {},
      )
    read()
    const timer = setInterval(read, READ_HOURS_EVERY_MS)
    return () => {
      leaving.abort()
      clearInterval(timer)
    }
  }, [lane.id])
  // A line needs two points.
  if (samples.length < 2) return null
  return (
    <section class="panel" aria-labelledby="hours">
      <h2 id="hours">
        Use of its limits <span class="muted">last 4 hours</span>
      </h2>
      <UseChart lane={lane} history={toLaneHistory(samples, lane)} height={150} />
    </section>
  )
}

function describeTier({ breaker, paused_reason: reason, paused_until: paused, speed }: ServiceTier): string {
  if (breaker.state !== 'closed') return `broken, ${countOf(breaker.failures, 'broken call')} in a row`
  if (paused !== null) return `paused: ${reason}`
  return speed < 1 ? `slowed to ${formatShare(speed)}` : 'open'
}
