import type { IncomingMessage, ServerResponse } from 'node:http'
import type { FastifyBaseLogger, FastifyInstance, RawServerDefault } from 'fastify'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import type { Logger } from 'pino'
import type { Batches } from '../batches/store.ts'
import type { Lane } from '../config/lanes.ts'
import type { Config } from '../config/schema.ts'
import type { Keyring, RunTimeKey } from '../config/tenants.ts'
import type { DurableRuns } from '../durable/runs.ts'
import type { TenantEvents } from '../events/events.ts'
import type { FileContents } from '../files/contents.ts'
import type { Files } from '../files/files.ts'
import type { FileLinks } from '../files/links.ts'
import type { Flows } from '../flows/store.ts'
import type { HistoryStateReader } from '../history/state.ts'
import type { UsageReader } from '../history/usage.ts'
import type { Budgets } from '../jobs/budget-usage.ts'
import type { JobType } from '../jobs/job.ts'
import type { JobCost, Jobs } from '../jobs/jobs.ts'
import type { MaintainerView } from '../jobs/maintainer-lease.ts'
import type { ProviderState } from '../jobs/provider-state.ts'
import type { TenantPauses } from '../jobs/tenant-pauses.ts'
import type { TenantStatsReader } from '../jobs/tenant-stats.ts'
import type { JsonObject } from '../lib/json.ts'
import type { ProviderBatchStore } from '../provider-batches/store.ts'
import type { ProviderAnswer } from '../providers/provider.ts'
import type { StateRequests } from '../providers/state-requests.ts'
import type { Cost } from '../ratelimit/gate.ts'
import type { Schedules } from '../schedules/store.ts'
import type { TenantRegistry } from '../tenants/registry.ts'
import type { WebhookStore } from '../webhooks/store.ts'
import type { LaneControl } from './lanes/lanes.ts'
import type { OpenStreams } from './open-streams.ts'
import type { OverviewHistory } from './overview/history.ts'
import type { TraceRequest } from './request-trace.ts'

/** The HTTP server, its routes typed by their zod schemas. */
export type Api = FastifyInstance<
  RawServerDefault,
  IncomingMessage,
  ServerResponse,
  FastifyBaseLogger,
  ZodTypeProvider
>

/** Everything the API needs from outside; it reads no environment and keeps no state of its own. */
export type ApiDeps = {
  store: ApiStore
  tenants: TenantAccess
  submission: Submission
  lanes: LaneControl
  providers: ProviderAccess
  history: HistoryAccess
  overview: OverviewSources
  server: ServerParts
  /** The current configuration; read again for each request. */
  config(): Config
  /** Unix milliseconds. */
  now(): number
}

/** What tenants have in the store, by resource. */
export type ApiStore = {
  jobs: Jobs
  events: TenantEvents
  files: Files
  fileLinks: FileLinks
  fileContents: FileContents
  batches: Batches
  durable: DurableRuns
  schedules: Schedules
  flows: Flows
  webhooks: Pick<WebhookStore, 'failing' | 'endpoints'>
}

/** Who may call, and what a tenant has used of what it may use. */
export type TenantAccess = {
  /** The keys as they stand now. */
  keyring(): Keyring
  /** Null: the keys that the API made are known as they stand. Else resolves when they are; rejects where the store does not tell. */
  freshenKeys(): Promise<void> | null
  /** Keys that the API made, as this process knows them. */
  madeKeys(): readonly RunTimeKey[]
  /** Tenants and keys that the API makes, and the list of changes. */
  registry: TenantRegistry
  /** The configuration as its file says it, without what the API made. */
  configured(): Config
  stats: TenantStatsReader
  pauses: TenantPauses
  budgets: Budgets
}

/** What makes a job of a request, wherever the request came from. */
export type Submission = {
  /** The lanes that serve a `provider/model` or an alias, the first preferred; null: there is none. */
  resolveModel(model: string): { lanes: Lane[] } | null
  /** The names of lanes and aliases that the configuration has, for a hint at what was meant. */
  listModels(): string[]
  estimateCost(lane: Lane, type: JobType, body: JsonObject): JobCost
  checkWebhookUrl(url: string): { ok: true } | { ok: false; reason: string }
  /** How long a lane's provider batches took lately, ms; null: not known. */
  batchTurnaround(lane: string): number | null
  /** False: everyone who reaches this service may do everything. */
  hasTenants(): boolean
}

/** How providers are asked for what is no job. */
export type ProviderAccess = {
  /** Whose what is that providers keep. */
  state: ProviderState
  requests: Pick<StateRequests, 'ask'>
  /** A turn in the limits of a lane for a request that is no job. Throws `rate_limited` and `exceeds_limit`. */
  takePermit(
    lane: Lane,
    cost: Cost,
    tenant: string,
    signal: AbortSignal,
  ): Promise<{ settle(actual: Cost | null): Promise<void> }>
  /** Asks the lane's provider how many input tokens a message has; null where it has no endpoint for that. */
  countTokens(lane: Lane, body: JsonObject, signal: AbortSignal): Promise<ProviderAnswer> | null
}

/** The database of finished jobs; null where there is none. */
export type HistoryAccess = { usage: UsageReader | null; state: HistoryStateReader | null }

/** What the overview shows besides what tenants have. */
export type OverviewSources = {
  history: Pick<OverviewHistory, 'read'>
  /** The worker that is the maintainer, and since when, Unix ms. Null: none at the moment. */
  readMaintainer: () => Promise<MaintainerView | null>
  providerBatches: Pick<ProviderBatchStore, 'recent'>
}

/** The process that serves the API, and how it is watched. */
export type ServerParts = {
  version: string
  log: Logger
  metrics: ApiMetrics
  /** Null: requests are not traced. */
  traceRequest: TraceRequest | null
  /** Whether this process can serve; the answer shows `reason`. */
  ready(): Promise<{ ok: boolean; reason?: string }>
  /** True while the store has no memory for new work. */
  isMemoryShort(): Promise<boolean>
  /** True for errors that say the store is away, so that asking again later may help. */
  isUnavailable(error: unknown): boolean
  /** Makes request ids. */
  createId(): string
  /** Where the built page for operators and the built site of docs/ are, if they are. */
  folders: { dashboard: string; guide: string }
  limits: ApiLimits
}

/** Counts what the API does, and reports it. */
export type ApiMetrics = {
  /** An answer is out. `route`: as it was registered; null: there is none. */
  onAnswer(answer: { method: string; route: string | null; status: number; ms: number }): void
  /** One more event stream is open, or one less. */
  onStreams(change: 1 | -1): void
  /** One more WebSocket is open, or one less; `code`: how it was closed. */
  onSocket(change: { opened: true } | { closed: number }): void
  /** A message came over a WebSocket, or left by one; `type` is one of the protocol's, or `invalid`. */
  onSocketMessage(direction: 'in' | 'out', type: string): void
  /** What a scrape is answered; takes 3 s at the most. */
  render(): Promise<{ contentType: string; text: string }>
}

/** Sizes in bytes, durations in ms. */
export type ApiLimits = {
  /** Largest body of an ordinary request, and largest job of a bulk submission. */
  bodyBytes: number
  /** From the headers to the last byte of an ordinary body. */
  bodyTimeout: number
  bulkBytes: number
  bulkJobs: number
  /** Longest silence of a bulk upload. */
  bulkIdleTimeout: number
  /** Longest bulk upload altogether. */
  bulkTimeout: number
  /** Largest file; its upload has the times of a bulk one. */
  fileBytes: number
  /** Between the comments that keep proxies from closing a silent event stream. */
  heartbeat: number
  /** Largest message of a WebSocket. */
  socketMessageBytes: number
  /** What may wait to be sent by a WebSocket before no more is read for it. */
  socketBufferBytes: number
  /** How long that may last before its client counts as too slow. */
  socketPatience: number
  /** How long a WebSocket may be open without a key. */
  socketAuthTimeout: number
  /** What answers underway get at close before their connections are cut. */
  closeGrace: number
}

export const defaultApiLimits: ApiLimits = {
  bodyBytes: 32 * 1024 * 1024,
  bodyTimeout: 10_000,
  bulkBytes: 200_000_000,
  bulkJobs: 50_000,
  bulkIdleTimeout: 10_000,
  bulkTimeout: 600_000,
  fileBytes: 200_000_000,
  heartbeat: 15_000,
  socketMessageBytes: 1024 * 1024,
  socketBufferBytes: 1024 * 1024,
  socketPatience: 10_000,
  socketAuthTimeout: 5_000,
  closeGrace: 5_000,
}

/** What every group of routes gets. */
export type RouteContext = {
  deps: ApiDeps
  limits: ApiLimits
  streams: OpenStreams
  /** Aborts when the server begins to close: streams end, held answers are given as they stand. */
  closing: AbortSignal
}
