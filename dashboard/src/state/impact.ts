import type { BrokenCall, Lane } from '../wire.ts'
import { judgeLane, type Tone } from './lane-health.ts'

/** Lanes of one provider that are in the same trouble for the same reason. */
export type ProviderTrouble = {
  /** The same for as long as the trouble lasts; no other trouble has it. */
  id: string
  provider: string
  tone: Tone
  /** The label of each lane's health, such as `provider down`. */
  label: string
  /** The lanes that hold up the most jobs come first. */
  lanes: Lane[]
  /** How many lanes of the provider are not idle. Equal to the number of `lanes` if the whole provider is in trouble. */
  activeLanes: number
  /** How many jobs wait in these lanes. */
  stuck: number
  /** When the present row of broken calls began, RFC 3339; null: there is none, or it is not known. */
  since: string | null
  /** The last call that broke; null: none is known. */
  lastBroken: BrokenCall | null
}

/** Lanes in the order that an operator needs: the worst trouble first, idle lanes last. */
export type RankedLanes = {
  /** Each entry stands for several lanes. A provider is here twice if its lanes are in two kinds of trouble. */
  providers: ProviderTrouble[]
  /** Lanes that have work, or trouble that no other lane of their provider shares. */
  lanes: Lane[]
  idle: Lane[]
}

/** This many lanes of one provider in the same trouble are shown as one. */
const SEVERAL_LANES = 2

/** How many times more a stuck job counts than one in a lane that works well, by the lane's tone. */
const weights: Record<Tone, number> = { bad: 1000, warn: 100, info: 3, good: 1, idle: 0 }

/** Counts the jobs that cannot be sent now. Delayed jobs count only while a pause or the breaker holds the lane. */
export function countStuck(lane: Lane): number {
  const isHeld = lane.paused_until !== null || lane.breaker.state !== 'closed'
  return lane.backlog.waiting + (isHeld ? lane.backlog.delayed : 0)
}

/** The number of stuck jobs times the weight of the trouble. */
export function impactOf(lane: Lane): number {
  // A lane whose breaker tries a call counts as down, so it keeps its place.
  const tone = lane.breaker.state === 'closed' ? judgeLane(lane).tone : 'bad'
  return weights[tone] * (1 + countStuck(lane))
}

/** Sorts lanes by trouble, groups those of one provider in the same trouble, and separates idle lanes. */
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

/** Providers in trouble and single lanes in one list: the greatest impact first. */
export function orderByImpact({ providers, lanes }: RankedLanes): (ProviderTrouble | Lane)[] {
  return [
    ...providers.map((trouble) => ({ shown: trouble, impact: sumOf(trouble.lanes) })),
    ...lanes.map((lane) => ({ shown: lane, impact: impactOf(lane) })),
  ]
    .sort((one, other) => other.impact - one.impact)
    .map(({ shown }) => shown)
}

const sumOf = (lanes: readonly Lane[]) => lanes.reduce((sum, lane) => sum + impactOf(lane), 0)

/** A name that is equal for lanes in the same trouble for the same reason; null: the lane has no trouble. */
function nameTrouble(lane: Lane): string | null {
  const { tone, label, detail } = judgeLane(lane)
  if (tone !== 'bad' && tone !== 'warn') return null
  // A lane whose breaker tries one call counts as down, like those whose breaker is open.
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

/** When the first call of the present row of broken calls broke, RFC 3339, as far as the server remembers calls. Null if the breaker is closed. */
export function brokenSince({ breaker }: Lane): string | null {
  if (breaker.state === 'closed') return null
  return breaker.last_broken.slice(0, Math.max(1, breaker.failures)).at(-1)?.at ?? null
}
