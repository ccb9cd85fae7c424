import type { BrokenCall, Lane } from '../wire.ts'
import { judgeLane, type Tone } from './lane-health.ts'

/** A provider whose lanes with work are all in the same trouble. */
export type ProviderTrouble = {
  provider: string
  tone: Tone
  /** As each lane's health says it: `provider down`. */
  label: string
  lanes: Lane[]
  /** Jobs that wait in them. */
  stuck: number
  /** Since when calls break in a row, RFC 3339; null: they do not, or it is not known. */
  since: string | null
  /** The last call that broke; null: none is known. */
  lastBroken: BrokenCall | null
}

/** Lanes as an operator wants to see them: what hurts most first, and what rests at the end. */
export type RankedLanes = {
  providers: ProviderTrouble[]
  /** Those that have work or trouble, and are in none of the providers. */
  lanes: Lane[]
  idle: Lane[]
}

/** From so many lanes of one provider in the same trouble on, it is the provider's. */
const WHOLE_PROVIDER = 2

/** A lane in trouble counts as much as one that flows with so many times its jobs. */
const weights: Record<Tone, number> = { bad: 1000, warn: 100, info: 3, good: 1, idle: 0 }

/** Jobs that cannot leave now. Those that a pause delayed wait for its end. */
export function countStuck(lane: Lane): number {
  const isHeld = lane.paused_until !== null || lane.breaker.state !== 'closed'
  return lane.backlog.waiting + (isHeld ? lane.backlog.delayed : 0)
}

/** Stuck work times why it is stuck. */
export function impactOf(lane: Lane): number {
  return weights[judgeLane(lane).tone] * (1 + countStuck(lane))
}

export function rankLanes(lanes: readonly Lane[]): RankedLanes {
  const active = lanes.filter((lane) => judgeLane(lane).tone !== 'idle')
  const providers = [...Map.groupBy(active, ({ provider }) => provider)].flatMap(([provider, own]) => {
    const trouble = toTrouble(provider, own)
    return trouble === null ? [] : [trouble]
  })
  const whole = new Set(providers.map(({ provider }) => provider))
  const byImpact = (one: Lane, other: Lane) => impactOf(other) - impactOf(one) || (one.id < other.id ? -1 : 1)
  return {
    providers: providers.sort((one, other) => sumOf(other.lanes) - sumOf(one.lanes)),
    lanes: active.filter(({ provider }) => !whole.has(provider)).sort(byImpact),
    idle: lanes.filter((lane) => judgeLane(lane).tone === 'idle'),
  }
}

const sumOf = (lanes: readonly Lane[]) => lanes.reduce((sum, lane) => sum + impactOf(lane), 0)

function toTrouble(provider: string, active: Lane[]): ProviderTrouble | null {
  if (active.length < WHOLE_PROVIDER) return null
  const healths = active.map(judgeLane)
  const isTroubled = healths.every(({ tone }) => tone === 'bad' || tone === 'warn')
  // A lane whose breaker tries one call is as far down as those whose breaker is open.
  const labels = new Set(healths.map(({ label }) => (label === 'probing' ? 'provider down' : label)))
  if (!isTroubled || labels.size > 1) return null
  const lanes = active.toSorted((one, other) => countStuck(other) - countStuck(one))
  const broken = lanes
    .flatMap(({ breaker }) => breaker.last_broken.slice(0, 1))
    .sort((one, other) => Date.parse(other.at) - Date.parse(one.at))
  const begins = lanes.flatMap((lane) => brokenSince(lane) ?? [])
  return {
    provider,
    tone: healths.some(({ tone }) => tone === 'bad') ? 'bad' : 'warn',
    label: [...labels][0]!,
    lanes,
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
