import { Table } from '../components/table.tsx'
import { formatCount, formatDuration, formatRate, formatShare, nothing } from '../format.ts'
import type { Dimension } from '../state/history.ts'
import type { Lane, Source } from '../wire.ts'
import { describeLevel } from './lane-card.tsx'

const dimensions: { dimension: Dimension; name: string }[] = [
  { dimension: 'requests', name: 'Requests a minute' },
  { dimension: 'tokens', name: 'Tokens a minute' },
  { dimension: 'input_tokens', name: 'Input tokens a minute' },
  { dimension: 'output_tokens', name: 'Output tokens a minute' },
]

/** The limits of the lane: configured, learned, and in use. */
export function Limits({ lane }: { lane: Lane }) {
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
        {dimensions
          .filter(({ dimension }) => isUsed(lane, dimension))
          .map(({ dimension, name }) => (
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
        {limits.requests_per_day === null ? null : (
          <tr>
            <th scope="row">Requests a day</th>
            <td class="num right">{orNone(limits.requests_per_day)}</td>
            <td class="right">{nothing}</td>
            <td class="right">{nothing}</td>
            <td>{nothing}</td>
          </tr>
        )}
      </Table>
    </section>
  )
}

/** Whether there is a limit of this kind. Requests and tokens have their rows in any case: a provider may yet name one. */
function isUsed({ limits, rates }: Lane, dimension: Dimension): boolean {
  if (dimension === 'requests' || dimension === 'tokens') return true
  return limits[dimension] !== null || rates[dimension] !== null
}

/** The limits that the lane shares with others, and which limit holds it back. */
export function SharedLimits({ lane }: { lane: Lane }) {
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

/** The sources that serve the lane, if it has several. */
export function Sources({ lane }: { lane: Lane }) {
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

function orNone(limit: number | null): string {
  return limit === null ? nothing : formatCount(limit)
}
