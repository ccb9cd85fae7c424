import type { BrokenCall, Lane } from '../wire.ts'
import { judgeLane, type Tone } from './lane-health.ts'

/** Lanes of one provider that are in the same trouble for the same reason. */
export type ProviderTrouble = {
  /** The same for as long as the trouble lasts; no other trouble has it. */
  id: string
  provider: string
  tone: Tone
  /** As each lane's health says it: `provider down`. */
  label: string
  /** Those that hold up the most first. */
  lanes: Lane[]
  /** How many lanes of the provider are not idle: as many as `lanes` where the whole provider is in trouble. */
  activeLanes: number
  /** Jobs that wait in them. */
  stuck: number
  /** Since when calls break in a row, RFC 3339; null: they do not, or it is not known. */
  since: string | null
  /** The last call that broke; null: none is known. */
  lastBroken: BrokenCall | null
}

/** Lanes as an operator wants to see them: what hurts most first, and what rests at the end. */
export type RankedLanes = {
  /** Several lanes as one each; a provider may be here twice, for lanes in other trouble. */
  providers: ProviderTrouble[]
  /** Those that have work or trouble, and share it with no other lane of their provider. */
  lanes: Lane[]
  idle: Lane[]
}

/** From so many lanes of one provider in the same trouble on, they are shown as one. */
const SEVERAL_LANES = 2

/** A lane in trouble counts as much as one that flows with so many times its jobs. */
const weights: Record<Tone, number> = { bad: 1000, warn: 100, info: 3, good: 1, idle: 0 }

/** Jobs that cannot leave now. Those that a pause delayed wait for its end. */
export function countStuck(lane: Lane): number {
  const isHeld = lane.paused_until !== null || lane.breaker.state !== 'closed'
  return lane.backlog.waiting + (isHeld ? lane.backlog.delayed : 0)
}

/** Stuck work times why it is stuck. */
export function impactOf(lane: Lane): number {
  // A lane is as far down while its breaker tries a call: it keeps its place.
  const tone = lane.breaker.state === 'closed' ? judgeLane(lane).tone : 'bad'
  return weights[tone] * (1 + countStuck(lane))
}

export function rankLanes(lanes: readonly Lane[]): RankedLanes {
  const active = lanes.filter((lane) => judgeLane(lane).tone !== 'idle')
  const providers = [...Map.groupBy(active, ({ provider }) => provider)].flatMap(([provider, own]) =>
    [...Map.groupBy(own, nameTrouble)].flatMap(([trouble, lanes]) =>
      trouble === null || lanes.length < SEVERAL_LANES
        ? []
        : [toTrouble(`${provider} ${trouble}`, provider, lanes, own.length)],
    ),
  )
  const grouped = new Set(providers.flatMap((trouble) => trouble.lanes))
  const byImpact = (one: Lane, other: Lane) => impactOf(other) - impactOf(one) || (one.id < other.id ? -1 : 1)
  return {
    providers: providers.sort((one, other) => sumOf(other.lanes) - sumOf(one.lanes)),
    lanes: active.filter((lane) => !grouped.has(lane)).sort(byImpact),
    idle: lanes.filter((lane) => judgeLane(lane).tone === 'idle'),
  }
}

/** Providers in trouble and single lanes in one row: what holds up the most first. */
export function orderByImpact({ providers, lanes }: RankedLanes): (ProviderTrouble | Lane)[] {
  return [
    ...providers.map((trouble) => ({ shown: trouble, impact: sumOf(trouble.lanes) })),
    ...lanes.map((lane) => ({ shown: lane, impact: impactOf(lane) })),
  ]
    .sort((one, other) => other.impact - one.impact)
    .map(({ shown }) => shown)
}

const sumOf = (lanes: readonly Lane[]) => lanes.reduce((sum, lane) => sum + impactOf(lane), 0)

/** Equal for lanes in the same trouble for the same reason; null: the lane is in none. */
function nameTrouble(lane: Lane): string | null {
  const { tone, label, detail } = judgeLane(lane)
  if (tone !== 'bad' && tone !== 'warn') return null
  // A lane whose breaker tries one call is as far down as those whose breaker is open.
  if (label === 'probing') return 'provider down'
  return label === 'paused' ? `${label}: ${detail}` : label
}

function toTrouble(id: string, provider: string, own: Lane[], activeLanes: number): ProviderTrouble {
  const healths = own.map(judgeLane)
  const lanes = own.toSorted((one, other) => countStuck(other) - countStuck(one))
  const broken = lanes
    .flatMap(({ breaker }) => breaker.last_broken.slice(0, 1))
    .sort((one, other) => Date.parse(other.at) - Date.parse(one.at))
  const begins = lanes.flatMap((lane) => brokenSince(lane) ?? [])
  const { label } = healths[0]!
  return {
    ...{ id, provider, lanes, activeLanes },
    tone: healths.some(({ tone }) => tone === 'bad') ? 'bad' : 'warn',
    label: label === 'probing' ? 'provider down' : label,
    stuck: lanes.reduce((sum, lane) => sum + countStuck(lane), 0),
    since: begins.length === 0 ? null : begins.sort()[0]!,
    lastBroken: broken[0] ?? null,
  }
}

/** When the first of the calls broke that broke in a row since, RFC 3339; of those that are remembered. Null where the breaker is closed. */
export function brokenSince({ breaker }: Lane): string | null {
  if (breaker.state === 'closed') return null
  return breaker.last_broken.slice(0, Math.max(1, breaker.failures)).at(-1)?.at ?? null
}
