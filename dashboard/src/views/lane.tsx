import { useEffect, useState } from 'preact/hooks'
import { Chart, type ChartLine } from '../components/chart.tsx'
import { Empty, Loading } from '../components/empty.tsx'
import { Table } from '../components/table.tsx'
import { Time } from '../components/time.tsx'
import {
  countOf,
  formatCount,
  formatDuration,
  formatRate,
  formatShare,
  nothing,
  shortenId,
} from '../format.ts'
import { useApp } from '../state/app.ts'
import { type Dimension, type LaneHistory, toLaneHistory } from '../state/history.ts'
import { decideInWords } from '../state/lane-health.ts'
import { linkToJob, linkToJobs } from '../state/route.ts'
import type { Lane, OverviewHistory, OverviewSample, ServiceTier, Source } from '../wire.ts'
import { LaneActions } from './lane-actions.tsx'
import { describeLevel, LaneGauges, LaneState, UseChart } from './lane-card.tsx'
import { FailedJobs } from './lane-failures.tsx'

/** The last hours have a new sample every two minutes. */
const READ_HOURS_EVERY_MS = 60_000

/** One lane in full. */
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
            It is neither configured nor has work. <a href="#/">All lanes</a>
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

/** The last hours, which the server remembers. */
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

/** What broke lately, and whose jobs those were. */
function BrokenCalls({ lane: { breaker } }: { lane: Lane }) {
  if (breaker.last_broken.length === 0) return null
  const held = breaker.held_tenants.map((tenant) => tenant || 'calls that several tenants shared')
  return (
    <section class="panel">
      {held.length > 0 && <p>The breaker holds back: {held.join(', ')}. Other tenants’ calls may leave.</p>}
      <Table
        caption="Calls that broke lately"
        isCaptionShown
        head={[
          { name: 'When' },
          { name: 'Status', isNumber: true },
          { name: 'Error' },
          { name: 'The provider said' },
          { name: 'Jobs' },
        ]}
      >
        {breaker.last_broken.map((call, index) => (
          <tr key={`${call.at} ${index}`}>
            <td class="num">
              <Time at={call.at} />
            </td>
            <td class="right">{call.status ?? nothing}</td>
            <td>{call.code}</td>
            <td>{call.message ?? nothing}</td>
            <td>
              {call.jobs.map(({ tenant, id }, place) => (
                <span key={id}>
                  {place > 0 ? ', ' : ''}
                  <a class="mono" href={linkToJob(id, tenant)} title={id}>
                    {shortenId(id)}
                  </a>{' '}
                  of {tenant}
                </span>
              ))}
            </td>
          </tr>
        ))}
      </Table>
    </section>
  )
}

const dimensions: { dimension: Dimension; name: string }[] = [
  { dimension: 'requests', name: 'Requests a minute' },
  { dimension: 'tokens', name: 'Tokens a minute' },
  { dimension: 'input_tokens', name: 'Input tokens a minute' },
  { dimension: 'output_tokens', name: 'Output tokens a minute' },
]

function Limits({ lane }: { lane: Lane }) {
  const { limits, learned } = lane
  return (
    <section class="panel">
      <Table
        caption="Limits: configured, learned from the provider, and in use"
        isCaptionShown
        head={[
          { name: 'Limit' },
          { name: 'Configured', isNumber: true },
          { name: 'Learned', isNumber: true },
          { name: `Leaves at most, at ${formatShare(limits.headroom)} of it`, isNumber: true },
          { name: 'Level now' },
        ]}
      >
        {dimensions.map(({ dimension, name }) => (
          <tr key={dimension}>
            <th scope="row">{name}</th>
            <td class="num right">{orNone(limits[dimension])}</td>
            <td class="num right">
              {dimension === 'requests' || dimension === 'tokens' ? orNone(learned[dimension]) : nothing}
            </td>
            <td class="num right">{formatRate(lane.rates[dimension])}</td>
            <td class="num">{describeLevel(lane, dimension) || nothing}</td>
          </tr>
        ))}
        <tr>
          <th scope="row">Calls at once</th>
          <td class="num right">{learned.concurrency === null ? orNone(limits.concurrency) : 'auto'}</td>
          <td class="num right">{orNone(learned.concurrency)}</td>
          <td class="right">{nothing}</td>
          <td class="num">{formatCount(lane.in_flight)} under way</td>
        </tr>
        <tr>
          <th scope="row">Window</th>
          <td class="num right">
            {lane.window.configured === 'auto' ? 'auto' : formatDuration(lane.window.configured)}
          </td>
          <td class="num right">
            {lane.window.learned === null ? nothing : formatDuration(lane.window.learned)}
          </td>
          <td class="right">{nothing}</td>
          <td>{nothing}</td>
        </tr>
        <tr>
          <th scope="row">Requests a day</th>
          <td class="num right">{orNone(limits.requests_per_day)}</td>
          <td class="right">{nothing}</td>
          <td class="right">{nothing}</td>
          <td>{nothing}</td>
        </tr>
      </Table>
    </section>
  )
}

/** The limits that the lane shares with others, and which of all holds it back. */
function SharedLimits({ lane }: { lane: Lane }) {
  if (lane.shared_limits.length === 0) return null
  const tightest = lane.held_back_by
  return (
    <section class="panel" aria-labelledby="shared-limits">
      <h2 id="shared-limits">Shared limits</h2>
      {tightest === null ? null : (
        <p>
          Held back by{' '}
          {tightest.kind === 'lane' ? 'the limits of this lane.' : `the shared limit ${tightest.name}.`}
        </p>
      )}
      <Table
        caption="Limits that this lane shares with others"
        head={[
          { name: 'Limit' },
          { name: 'Requests a minute', isNumber: true },
          { name: 'Tokens a minute', isNumber: true },
          { name: 'In use', isNumber: true },
          { name: 'Calls at once', isNumber: true },
          { name: '429s', isNumber: true },
        ]}
      >
        {lane.shared_limits.map(({ name, limits, ...now }) => (
          <tr key={name}>
            <th scope="row">
              {name}
              {now.paused_until === null ? '' : ' (paused)'}
            </th>
            <td class="num right">{orNone(limits.requests)}</td>
            <td class="num right">{orNone(limits.tokens ?? limits.input_tokens ?? limits.output_tokens)}</td>
            <td class="num right">{formatShare(now.utilisation)}</td>
            <td class="num right">{formatCount(now.in_flight)}</td>
            <td class="num right">{formatCount(now.throttled)}</td>
          </tr>
        ))}
      </Table>
    </section>
  )
}

/** What serves the lane, where that is more than one place. */
function Sources({ lane }: { lane: Lane }) {
  if (lane.sources.length === 0) return null
  return (
    <section class="panel" aria-labelledby="sources">
      <h2 id="sources">Sources</h2>
      <Table
        caption="Keys, accounts, regions or deployments that serve this lane"
        head={[
          { name: 'Source' },
          { name: 'State' },
          { name: 'Requests a minute', isNumber: true },
          { name: 'Tokens a minute', isNumber: true },
          { name: 'In use', isNumber: true },
          { name: 'Calls at once', isNumber: true },
          { name: '429s', isNumber: true },
        ]}
      >
        {lane.sources.map((source) => (
          <tr key={source.name}>
            <th scope="row">{source.name}</th>
            <td>{describeSource(source)}</td>
            <td class="num right">{orNone(source.limits.requests)}</td>
            <td class="num right">
              {orNone(source.limits.tokens ?? source.limits.input_tokens ?? source.limits.output_tokens)}
            </td>
            <td class="num right">{formatShare(source.utilisation)}</td>
            <td class="num right">{formatCount(source.in_flight)}</td>
            <td class="num right">{formatCount(source.throttled)}</td>
          </tr>
        ))}
      </Table>
    </section>
  )
}

function describeSource({ shut, paused_until: paused, breaker }: Source): string {
  if (shut !== null) return `Shut: ${shut.reason}`
  if (breaker.state !== 'closed') return 'Broken'
  return paused === null ? 'Open' : 'Paused'
}

function describeTier({ breaker, paused_reason: reason, paused_until: paused, speed }: ServiceTier): string {
  if (breaker.state !== 'closed') return `broken, ${countOf(breaker.failures, 'broken call')} in a row`
  if (paused !== null) return `paused: ${reason}`
  return speed < 1 ? `slowed to ${formatShare(speed)}` : 'open'
}

function orNone(limit: number | null): string {
  return limit === null ? nothing : formatCount(limit)
}
