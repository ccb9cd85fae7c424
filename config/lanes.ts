import { hash } from 'node:crypto'
import type { Price } from '../lib/price.ts'
import { matchesModel } from './match-model.ts'
import { resolvePrice } from './prices.ts'
import type { ProviderKind } from './provider-kind.ts'
import { coalesceDefaults } from './provider-schema.ts'
import type { Config } from './schema.ts'
import { modelNamePattern } from './schema-parts.ts'
import {
  type BatchSettings,
  batchDefaults,
  type FlexSettings,
  flexDefaults,
  type Tier,
} from './tier-schema.ts'

/** Limits of one lane. An absent member means no limit. Durations in milliseconds. */
export type LaneLimits = {
  requests_per_minute?: number
  tokens_per_minute?: number
  input_tokens_per_minute?: number
  output_tokens_per_minute?: number
  images_per_minute?: number
  audio_seconds_per_minute?: number
  requests_per_day?: number
  max_concurrency?: number
  /** `max_concurrency: auto`: the limit is adapted to what the server can handle. */
  isAdaptive?: true
  /** The period over which the provider counts, in ms; 60,000 if it is learned. */
  window: number
  /** The lane learns how its provider counts. Absent: `window` applies as configured. */
  window_auto?: boolean
  /** Share of the limit to use, (0, 1]. */
  headroom: number
}

/** A limit that a provider counts for several models together. */
export type SharedLimit = { name: string; limits: LaneLimits }

/** One of several keys, accounts, regions or deployments that serve a lane. Its key and address stay in the configuration. */
export type LaneSource = {
  name: string
  limits: LaneLimits
  /** Its relative share while all sources have capacity; greater than 0. */
  weight: number
  /** The model's name at this source. */
  model: string
  /** Changes with the source's key or address, so that a refused key does not block a new one. */
  mark: string
}

export type { ProviderKind }

/** One `provider/model` with all settings resolved: those of the model override those of its provider, which override the defaults. */
export type Lane = {
  /** `provider/model` */
  id: string
  provider: string
  model: string
  kind: ProviderKind
  /** How to handle members that a provider of kind `anthropic` does not support. */
  onUnsupported: 'refuse' | 'drop'
  /** With `sources`: the sum of their limits. */
  limits: LaneLimits
  /** The sources of the lane; absent: its provider's key and address. A call uses one of them. */
  sources?: LaneSource[]
  /** Limits of the provider that this lane shares with others; absent: none. */
  shared?: SharedLimit[]
  timeout: number
  retry: { max_attempts: number; base: number; cap: number }
  /** Null: unknown, and so are costs. */
  price: Price | null
  coalesce: { max_inputs: number; max_tokens: number; max_wait: number } | null
  /** `off`: no answers are cached or shared. */
  cache?: 'off'
  /** The tier of jobs without one; absent: `standard`. */
  defaultTier?: Tier
  /** The slower, cheaper tiers of its provider; absent: none. Durations in milliseconds. */
  tiers?: { flex: FlexSettings | null; batch: BatchSettings | null }
  /** `warm`: of several jobs with the same long prefix one is sent first. */
  promptCache?: 'warm'
  /** Only for models that `*` matches: how many such models of the provider a tenant may use at a time. */
  maxLanes?: number
  /** Maximum of output tokens of an answer; absent: unknown. */
  max_output_tokens?: number
  /** The maximum for requests without one, if the provider requires one. */
  default_max_tokens?: number
}

type ProviderSettings = Config['providers'][string]
type ModelSettings = ProviderSettings['models'][string]

/** All limits that apply to a call of the lane: its own, then the shared ones. */
export function listLimits({ limits, shared = [] }: Pick<Lane, 'limits' | 'shared'>): LaneLimits[] {
  return [limits, ...shared.map((one) => one.limits)]
}

/** Maximum of concurrent calls in the lane; Infinity: no limit. Lanes that share a limit share its slots. */
export function findSlots(lane: Pick<Lane, 'limits' | 'shared'>): number {
  return Math.min(
    ...listLimits(lane).map(({ max_concurrency }) => max_concurrency ?? Number.POSITIVE_INFINITY),
  )
}

/** The limits that a call must pass: one of `anyOf` (its own, or that of any source), and all of `allOf`. */
export function listBounds({ limits, sources, shared = [] }: Lane): {
  anyOf: LaneLimits[]
  allOf: SharedLimit[]
} {
  return { anyOf: sources?.map((one) => one.limits) ?? [limits], allOf: shared }
}

const wildcard = '*'

/** Maximum of remembered lanes per configuration, because clients choose the names for `*`. */
const MOST_KEPT = 2500

/** Lanes by configuration. Every call looks up its lane several times, and a configuration object never changes. */
const kept = new WeakMap<Config, Map<string, Lane>>()

/**
 * The lane named `provider/model` (divided at the first slash); null if it is not configured. Returns the same object each time: do not
 * change it.
 */
export function resolveLane(config: Config, name: string): Lane | null {
  const known = kept.get(config)?.get(name)
  if (known !== undefined) return known
  const lane = findLane(config, name)
  if (lane !== null) keepLane(config, name, lane)
  return lane
}

function keepLane(config: Config, name: string, lane: Lane): void {
  const lanes = kept.get(config) ?? new Map<string, Lane>()
  if (lanes.size >= MOST_KEPT) lanes.clear()
  lanes.set(name, lane)
  kept.set(config, lanes)
}

function findLane(config: Config, name: string): Lane | null {
  const slash = name.indexOf('/')
  if (slash < 0) return null
  const provider = name.slice(0, slash)
  const model = name.slice(slash + 1)
  const settings = ownMember(config.providers, provider)
  // With a wildcard, clients choose names. Only characters that the configuration allows may reach keys and URLs.
  if (settings === undefined || model === wildcard || !modelNamePattern.test(model)) return null
  const own = ownMember(settings.models, model)
  if (own !== undefined) return buildLane(provider, model, settings, own)
  const any = ownMember(settings.models, wildcard)
  return any === undefined
    ? null
    : { ...buildLane(provider, model, settings, any), maxLanes: settings.max_lanes }
}

/** Whether the configuration lists the lane by name, and not only by `*`. */
export function isNamedLane(config: Config, name: string): boolean {
  const lane = resolveLane(config, name)
  return lane !== null && lane.maxLanes === undefined
}

/** All lanes that the configuration names, in its order, without the lanes of `*`. */
export function listLanes(config: Config): Lane[] {
  return Object.entries(config.providers).flatMap(([provider, settings]) =>
    Object.entries(settings.models)
      .filter(([model]) => model !== wildcard)
      .map(([model, own]) => buildLane(provider, model, settings, own)),
  )
}

/** The possible values of a request's `model`: the configured lanes, then the aliases. */
export function listModels(config: Config): string[] {
  return [...listLanes(config).map(({ id }) => id), ...Object.keys(config.routes)]
}

/** The lanes for a client's `model`, the preferred one first: the lanes of an alias, or one lane. */
export function resolveModel(config: Config, model: string): { lanes: Lane[] } | null {
  const names = ownMember(config.routes, model) ?? [model]
  const lanes = names.map((name) => resolveLane(config, name)).filter((lane) => lane !== null)
  return lanes.length === 0 ? null : { lanes }
}

function buildLane(provider: string, model: string, settings: ProviderSettings, own: ModelSettings): Lane {
  const coalesces = own.coalesce !== undefined || settings.coalesce !== undefined
  return {
    id: `${provider}/${model}`,
    provider,
    model,
    kind: settings.kind,
    onUnsupported: settings.kind === 'anthropic' ? settings.on_unsupported : 'refuse',
    ...resolveOwnLimits(model, settings, own),
    ...resolveShared(model, settings),
    timeout: own.timeout ?? settings.timeout,
    retry: { ...settings.retry, ...own.retry },
    price: resolvePrice({
      kind: settings.kind,
      baseUrl: settings.base_url,
      model: own.price_as ?? model,
      settings: own.price,
    }),
    coalesce: coalesces ? { ...coalesceDefaults, ...settings.coalesce, ...own.coalesce } : null,
    tiers: decideTiers(settings.kind, own.tiers),
    ...(own.default_tier === undefined ? {} : { defaultTier: own.default_tier }),
    ...(own.prompt_cache === 'warm' ? { promptCache: 'warm' as const } : {}),
    ...(own.cache.mode === 'off' ? { cache: 'off' as const } : {}),
    ...(own.max_output_tokens === undefined ? {} : { max_output_tokens: own.max_output_tokens }),
    ...(settings.kind === 'anthropic' ? { default_max_tokens: settings.default_max_tokens } : {}),
  }
}

/** Kinds whose providers accept `service_tier: flex`, and kinds with a batch API. */
const HAS_FLEX: readonly ProviderKind[] = ['openai', 'azure-openai', 'gemini']
const HAS_BATCH: readonly ProviderKind[] = ['openai', 'azure-openai', 'anthropic', 'gemini']

function decideTiers(
  kind: ProviderKind,
  { flex, batch }: ModelSettings['tiers'],
): NonNullable<Lane['tiers']> {
  return {
    flex: flex === 'off' ? null : (flex ?? (HAS_FLEX.includes(kind) ? flexDefaults : null)),
    batch: batch === 'off' ? null : (batch ?? (HAS_BATCH.includes(kind) ? batchDefaults : null)),
  }
}

function resolveShared(model: string, { shared_limits, limits }: ProviderSettings): Pick<Lane, 'shared'> {
  const shared = Object.entries(shared_limits)
    .filter(([, { models }]) => models.some((pattern) => matchesModel(pattern, model)))
    .map(([name, { models: _, ...own }]) => ({
      name,
      limits: resolveLimits({ window: limits.window, headroom: limits.headroom, ...own }),
    }))
  return shared.length === 0 ? {} : { shared }
}

function resolveOwnLimits(
  model: string,
  settings: ProviderSettings,
  own: ModelSettings,
): Pick<Lane, 'limits' | 'sources'> {
  const common = { ...settings.limits, ...own.limits }
  if (own.sources === undefined) return { limits: resolveLimits(common) }
  const sources = own.sources.map(
    (source): LaneSource => ({
      name: source.name,
      limits: resolveLimits({ ...common, ...source.limits }),
      weight: source.weight,
      model: source.deployment ?? model,
      mark: markOf(source, settings),
    }),
  )
  return { limits: addLimits(sources.map(({ limits }) => limits)), sources }
}

/** Lanes are built often, and a configuration object never changes. */
const marks = new WeakMap<object, string>()

/** Too short to reveal anything about the key. */
function markOf(source: NonNullable<ModelSettings['sources']>[number], settings: ProviderSettings): string {
  const known = marks.get(source)
  if (known !== undefined) return known
  const place = [source.base_url ?? settings.base_url, source.api_key ?? settings.api_key]
  const mark = hash('sha256', JSON.stringify(place), 'hex').slice(0, 8)
  marks.set(source, mark)
  return mark
}

const ADDED = [
  'requests_per_minute',
  'tokens_per_minute',
  'input_tokens_per_minute',
  'output_tokens_per_minute',
  'images_per_minute',
  'audio_seconds_per_minute',
  'requests_per_day',
  'max_concurrency',
] as const

/** The sum of the limits of several sources. If one has no limit, there is none. */
function addLimits(all: readonly LaneLimits[]): LaneLimits {
  const sum: LaneLimits = {
    window: Math.max(...all.map(({ window }) => window)),
    headroom: Math.min(...all.map(({ headroom }) => headroom)),
  }
  for (const name of ADDED) {
    const known = all.map(({ [name]: limit }) => limit).filter((limit) => limit !== undefined)
    if (known.length === all.length) sum[name] = known.reduce((total, limit) => total + limit, 0)
  }
  if (all.some(({ isAdaptive }) => isAdaptive)) sum.isAdaptive = true
  if (all.some(({ window_auto }) => window_auto)) sum.window_auto = true
  return sum
}

function resolveLimits({
  max_concurrency,
  window,
  ...limits
}: Omit<ProviderSettings['limits'], 'max_concurrency'> & ModelSettings['limits']): LaneLimits {
  return {
    ...limits,
    ...(max_concurrency === 'auto'
      ? { isAdaptive: true }
      : max_concurrency === undefined
        ? {}
        : { max_concurrency }),
    // A learned window ends at the full minute, so nothing over a minute's limit ever passes.
    ...(window === 'auto' ? { window: 60_000, window_auto: true } : { window }),
  }
}

/** Names come from clients: `constructor` must not find an inherited member. */
function ownMember<T>(members: Readonly<Record<string, T>>, name: string): T | undefined {
  return Object.hasOwn(members, name) ? members[name] : undefined
}

/** The next lane in the route of an alias that is not `unfit`; null for a plain model, after the last lane, or if there is none. */
export function successorOf(
  config: Config,
  model: string,
  lane: string,
  unfit: readonly string[] = [],
): string | null {
  const route = ownMember(config.routes, model) ?? []
  const place = route.indexOf(lane)
  return place === -1 ? null : (route.slice(place + 1).find((next) => !unfit.includes(next)) ?? null)
}

/** Whether any route has another lane after this one. */
export function hasSuccessors(config: Config, lane: string): boolean {
  return Object.keys(config.routes).some((alias) => successorOf(config, alias, lane) !== null)
}
