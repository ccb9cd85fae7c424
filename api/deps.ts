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
import type { JobCost } from '../jobs/job-cost.ts'
import type { Jobs } from '../jobs/jobs.ts'
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

/** The HTTP server, with routes typed by their zod schemas. */
export type Api = FastifyInstance<
  RawServerDefault,
  IncomingMessage,
  ServerResponse,
  FastifyBaseLogger,
  ZodTypeProvider
>

/** Everything that the API needs from outside. The API reads no environment and keeps no state of its own. */
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

/** Access to the store, by resource. */
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

/** Access to keys and tenants, and a tenant's usage of its limits. */
export type TenantAccess = {
  /** The current keys. */
  keyring(): Keyring
  /** Null: this process knows the current keys of the API. Otherwise resolves when it does; rejects if the store does not answer. */
  freshenKeys(): Promise<void> | null
  /** Keys that the API created, as this process knows them. */
  madeKeys(): readonly RunTimeKey[]
  /** Tenants and keys that the API creates, and the audit list. */
  registry: TenantRegistry
  /** The configuration of its file, without what the API created. */
  configured(): Config
  stats: TenantStatsReader
  pauses: TenantPauses
  budgets: Budgets
}

/** Turns a request into a job, for every protocol. */
export type Submission = {
  /** The lanes for a `provider/model` or an alias, the preferred one first; null: unknown model. */
  resolveModel(model: string): { lanes: Lane[] } | null
  /** The configured names of lanes and aliases, to suggest the one that was meant. */
  listModels(): string[]
  estimateCost(lane: Lane, type: JobType, body: JsonObject): JobCost
  checkWebhookUrl(url: string): { ok: true } | { ok: false; reason: string }
  /** How long a lane's provider batches took lately, ms; null: unknown. */
  batchTurnaround(lane: string): number | null
  /** False: everyone who can reach this service may do everything. */
  hasTenants(): boolean
}

/** Requests to providers that are not jobs. */
export type ProviderAccess = {
  /** Owners of objects stored at providers. */
  state: ProviderState
  requests: Pick<StateRequests, 'ask'>
  /** Takes a permit of a lane for a request that is not a job. Throws `rate_limited` and `exceeds_limit`. */
  takePermit(
    lane: Lane,
    cost: Cost,
    tenant: string,
    signal: AbortSignal,
  ): Promise<{ settle(actual: Cost | null): Promise<void> }>
  /** Asks the lane's provider for the number of input tokens of a message; null if it has no such endpoint. */
  countTokens(lane: Lane, body: JsonObject, signal: AbortSignal): Promise<ProviderAnswer> | null
}

/** The database of finished jobs. Null: there is none. */
export type HistoryAccess = { usage: UsageReader | null; state: HistoryStateReader | null }

/** Sources of the overview besides the store. */
export type OverviewSources = {
  history: Pick<OverviewHistory, 'read'>
  /** The current maintainer, and since when, Unix ms; null: none at the moment. */
  readMaintainer: () => Promise<MaintainerView | null>
  providerBatches: Pick<ProviderBatchStore, 'recent'>
}

/** The process that serves the API, its log and metrics. */
export type ServerParts = {
  version: string
  log: Logger
  metrics: ApiMetrics
  /** Null: requests are not traced. */
  traceRequest: TraceRequest | null
  /** Whether this process can serve. The answer contains `reason`. */
  ready(): Promise<{ ok: boolean; reason?: string }>
  /** True while the store has no memory for new work. */
  isMemoryShort(): Promise<boolean>
  /** Whether an error means that the store is unavailable, so that a retry may help. */
  isUnavailable(error: unknown): boolean
  /** Makes request ids. */
  createId(): string
  /** Folders of the built dashboard and of the built site of docs/, if they are built. */
  folders: { dashboard: string; guide: string }
  limits: ApiLimits
}

/** Metrics of the API. */
export type ApiMetrics = {
  /** An answer was sent. `route`: as registered; null: unknown route. */
  onAnswer(answer: { method: string; route: string | null; status: number; ms: number }): void
  /** An event stream was opened or closed. */
  onStreams(change: 1 | -1): void
  /** A WebSocket was opened or closed; `code`: its close code. */
  onSocket(change: { opened: true } | { closed: number }): void
  /** A message was received or sent on a WebSocket. `type` is one of the protocol, or `invalid`. */
  onSocketMessage(direction: 'in' | 'out', type: string): void
  /** The body for a scrape. Takes at most 3 s. */
  render(): Promise<{ contentType: string; text: string }>
}

/** Sizes in bytes, durations in ms. */
export type ApiLimits = {
  /** Largest body of an ordinary request, and largest job of a bulk upload. */
  bodyBytes: number
  /** From the headers to the last byte of an ordinary body. */
  bodyTimeout: number
  bulkBytes: number
  bulkJobs: number
  /** Longest silence of a bulk upload. */
  bulkIdleTimeout: number
  /** Longest bulk upload in total. */
  bulkTimeout: number
  /** Largest file. Its upload has the timeouts of a bulk upload. */
  fileBytes: number
  /** Interval of the comments that keep proxies from closing a silent event stream. */
  heartbeat: number
  /** Largest message of a WebSocket. */
  socketMessageBytes: number
  /** Bytes that may wait to be sent on a WebSocket before no more are read for it. */
  socketBufferBytes: number
  /** How long that may last before the client counts as too slow. */
  socketPatience: number
  /** How long a WebSocket may be open without a key. */
  socketAuthTimeout: number
  /** Time for answers under way at close, before their connections are closed. */
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
  /** Aborts when the server begins to close: streams end, and long polls are answered. */
  closing: AbortSignal
}
