import { useState } from 'preact/hooks'
import { Chip } from '../components/chip.tsx'
import { Empty } from '../components/empty.tsx'
import { Table } from '../components/table.tsx'
import { countOf, formatCount } from '../format.ts'
import { describeSince, explainTrouble, nameState } from '../state/attention.ts'
import { countStuck, orderByImpact, type ProviderTrouble, rankLanes } from '../state/impact.ts'
import { judgeLane } from '../state/lane-health.ts'
import { linkToLane } from '../state/route.ts'
import type { Lane } from '../wire.ts'
import { LaneActions, TroubleActions } from './lane-actions.tsx'
import { LaneCard } from './lane-card.tsx'

/** With more lanes than this, the page has a search field. */
const MANY_LANES = 8
/** Up to this many lanes are all shown in full, including idle ones. */
const FEW_LANES = 3
/** How many lanes are shown in full; each of the others has a line. */
const CARDS = 4
/** The most lines; a search finds the other lanes. */
const LINES = 60

/** Lanes by their impact; idle ones share one line. */
export function LanesByImpact({ all }: { all: readonly Lane[] }) {
  const [search, setSearch] = useState('')
  const sought = search.trim().toLowerCase()
  const lanes = all.filter(({ id }) => id.toLowerCase().includes(sought))
  return (
    <section aria-labelledby="lanes">
      <div class="section-head">
        <h2 id="lanes">Lanes</h2>
        {all.length > MANY_LANES ? (
          <input
            type="search"
            aria-label="Find a lane"
            placeholder="Find a lane"
            value={search}
            onInput={(event) => setSearch(event.currentTarget.value)}
          />
        ) : null}
      </div>
      {all.length === 0 ? (
        <Empty title="There are no lanes yet.">
          <p>
            Name a model below <code>providers</code> in <code>sluice.yaml</code>; the file is read again when
            it changes. A lane is one <code>provider/model</code>.
          </p>
        </Empty>
      ) : lanes.length === 0 ? (
        <Empty title="No lane has this text in its name." />
      ) : lanes.length <= FEW_LANES ? (
        <Few lanes={lanes} />
      ) : (
        <Ranked lanes={lanes} isSought={sought !== ''} />
      )}
    </section>
  )
}

function Few({ lanes }: { lanes: readonly Lane[] }) {
  const ranked = rankLanes(lanes)
  // Keeps all cards in one list, so that a card keeps the focus when it moves.
  return <>{[...orderByImpact(ranked), ...ranked.idle].map(toCard)}</>
}

function Ranked({ lanes, isSought }: { lanes: readonly Lane[]; isSought: boolean }) {
  const ranked = rankLanes(lanes)
  const { idle } = ranked
  const full = new Set<ProviderTrouble | Lane>([...ranked.providers, ...ranked.lanes.slice(0, CARDS)])
  const rest = ranked.lanes.slice(CARDS)
  return (
    <>
      {orderByImpact(ranked)
        .filter((shown) => full.has(shown))
        .map(toCard)}
      {rest.length === 0 ? null : (
        <div class="panel lane-lines">
          <LaneTable caption="Other lanes with work" lanes={rest.slice(0, LINES)} />
          {rest.length > LINES ? (
            <p class="muted">and {countOf(rest.length - LINES, 'lane')} more, which hold up less</p>
          ) : null}
        </div>
      )}
      {idle.length === 0 ? null : (
        <details class="panel idle-lanes" open={isSought}>
          <summary>
            <Chip tone="idle" label="idle" /> {countOf(idle.length, 'lane')} with nothing to do
          </summary>
          <p class="names">
            {idle.map(({ id }) => (
              <a key={id} href={linkToLane(id)}>
                {id}
              </a>
            ))}
          </p>
        </details>
      )}
    </>
  )
}

function toCard(shown: ProviderTrouble | Lane) {
  return 'lanes' in shown ? (
    <ProviderCard key={`trouble ${shown.id}`} trouble={shown} />
  ) : (
    <LaneCard key={shown.id} lane={shown} />
  )
}

/** One card for several lanes of a provider that are in the same trouble. */
function ProviderCard({ trouble }: { trouble: ProviderTrouble }) {
  const { provider, tone, label, lanes, activeLanes, stuck } = trouble
  const isWhole = lanes.length === activeLanes
  const why = explainTrouble(trouble)
  return (
    <article
      class={`panel lane ${tone}`}
      aria-label={isWhole ? `Provider ${provider}` : `Lanes of ${provider}: ${nameState(trouble)}`}
    >
      <div class="lane-head">
        <h3>{provider}</h3>
        <p class="lane-state">
          <Chip tone={tone} label={isWhole ? label : nameState(trouble)} />{' '}
          <span class="muted">
            {isWhole ? 'all ' : `${formatCount(lanes.length)} of `}
            {countOf(activeLanes, isWhole ? 'lane' : 'active lane')}
            {describeSince(trouble)},{' '}
          </span>
          <b class="num">{countOf(stuck, 'job')} stuck</b>
        </p>
        <TroubleActions trouble={trouble} />
      </div>
      {why === null ? null : <p class="breakable">{why}</p>}
      <details>
        <summary>{countOf(lanes.length, 'lane')}</summary>
        <LaneTable caption={`Lanes of ${provider}`} lanes={lanes} />
      </details>
    </article>
  )
}

function LaneTable({ caption, lanes }: { caption: string; lanes: readonly Lane[] }) {
  return (
    <Table
      caption={caption}
      head={[
        { name: 'Lane' },
        { name: 'State' },
        { name: 'Why' },
        { name: 'Stuck', isNumber: true },
        { name: 'In flight', isNumber: true },
        { name: 'Actions', isHidden: true },
      ]}
    >
      {lanes.map((lane) => {
        const { tone, label, detail } = judgeLane(lane)
        return (
          <tr key={lane.id}>
            <th scope="row">
              <a href={linkToLane(lane.id)}>{lane.id}</a>
            </th>
            <td>
              <Chip tone={tone} label={label} />
            </td>
            <td class="clip muted" title={detail}>
              {detail}
            </td>
            <td class="num right">{formatCount(countStuck(lane))}</td>
            <td class="num right">{formatCount(lane.in_flight)}</td>
            <td class="right">
              <LaneActions lane={lane} />
            </td>
          </tr>
        )
      })}
    </Table>
  )
}
