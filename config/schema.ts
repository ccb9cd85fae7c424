import { z } from 'zod'
import { isTimeZone } from '../lib/local-time.ts'
import { isProxyUrl } from '../lib/proxy.ts'
import { checkReferences } from './cross-checks.ts'
import { encryptionKeyPattern } from './encryption-key.ts'
import { historySchema } from './history-schema.ts'
import { tenantKeyPattern } from './key-digest.ts'
import { cacheModeSchema, providerSchema } from './provider-schema.ts'
import { redriveSchema } from './redrive-schema.ts'
import { schedulesSchema } from './schedules-schema.ts'
import {
  aliasPattern,
  count,
  duration,
  headerName,
  headerSecret,
  httpUrl,
  namePattern,
  secret,
  size,
  webOrigin,
} from './schema-parts.ts'

const server = z.strictObject({
  host: z
    .string()
    .regex(/^\S+$/, { error: 'expected a host name or an address' })
    .prefault('127.0.0.1')
    .describe(
      'Address to listen on. Beyond loopback it needs tenants. HOST in the environment overrides it. Restart to change.',
    ),
  port: z
    .int()
    .min(0)
    .max(65535)
    .prefault(8080)
    .describe(
      'Port to listen on; 0 takes a free one. PORT in the environment overrides it. Restart to change.',
    ),
  public_url: httpUrl()
    .optional()
    .describe(
      'How clients reach the API from outside, for links in webhooks. Default: http:// with host and port. Restart to change.',
    ),
  cors: z
    .strictObject({
      origins: z
        .array(webOrigin())
        .prefault([])
        .describe(
          'Origins of web pages that may call /v1 from a browser and open its WebSocket. Default: none but the pages of this service.',
        ),
    })
    .prefault({})
    .describe('Which web pages of other origins may call the API.'),
  max_streams_per_tenant: count()
    .prefault(1_000)
    .describe('Event streams a tenant may have open at once on one API process. Restart to change.'),
  early_headers: duration({ max: '1h' })
    .prefault('10s')
    .describe(
      'How long an OpenAI-compatible stream waits for its first piece before the headers are sent without it. A failure after that is an event of the stream.',
    ),
})

const expectedRedisUrl = 'expected a redis:// or rediss:// URL, without blanks and line breaks'

const pemFile = z.string().regex(/^[^\0]+$/, { error: 'expected the path of a PEM file' })

const redisTls = z
  .strictObject({
    ca: pemFile
      .optional()
      .describe('PEM file of the authorities to trust. Default: those that Node knows. Restart to change.'),
    cert: pemFile
      .optional()
      .describe('PEM file of the certificate to show Redis, with its key. Restart to change.'),
    key: pemFile.optional().describe('PEM file of the private key of cert. Restart to change.'),
  })
  .refine(({ cert, key }) => (cert === undefined) === (key === undefined), {
    error: 'expected cert and key together',
  })

const redis = z.strictObject({
  url: z
    .string()
    .regex(/^(?:rediss?:\/\/\S+)?$/, { error: expectedRedisUrl })
    .transform((text) => (text === '' ? undefined : text))
    .optional()
    .describe(
      'redis:// or rediss:// (TLS) URL. Without it, or empty: npm start brings its own Redis. Restart to change.',
    ),
  cluster: z
    .array(z.string().regex(/^rediss?:\/\/\S+$/, { error: expectedRedisUrl }))
    .min(1)
    .optional()
    .describe('URLs of some nodes of a Redis Cluster, instead of url. Restart to change.'),
  tls: redisTls
    .optional()
    .describe('Certificates for rediss:// URLs, where the usual ones will not do. Restart to change.'),
  prefix: z
    .string()
    .regex(namePattern, { error: 'expected letters, digits and . _ - only, 64 at the most' })
    .prefault('sluice')
    .describe('What every Redis key starts with. Restart to change.'),
  memory_share: z
    .number()
    .min(0.05)
    .max(1)
    .prefault(0.7)
    .describe(
      "Share of Redis' maxmemory from which on new work is answered 503, so that there is room for the results of what was accepted. Restart to change.",
    ),
  durable: z
    .boolean()
    .prefault(false)
    .describe(
      'Acknowledge work only when it is on the disk of Redis, which has to be able to tell. Default false. Restart to change.',
    ),
})

const windowBudget = z.strictObject({
  usd: z.number().min(0).max(1_000_000).describe('USD that may be spent in a window.'),
  per: z.enum(['day', 'week', 'month']).describe('The window; a week begins on Monday.'),
  time_zone: z
    .string()
    .refine(isTimeZone, { error: 'expected the name of a time zone, such as Europe/Berlin' })
    .prefault('UTC')
    .describe('Where days begin at midnight. Default UTC.'),
})

export const keyBudgets = z.array(windowBudget).max(10)

/** Of a group, which may have one for as long as it lives. */
export const groupBudgets = z
  .array(
    windowBudget.extend({
      per: z
        .enum(['day', 'week', 'month', 'total'])
        .prefault('total')
        .describe('The window; a week begins on Monday. Default `total`: as long as there is the group.'),
    }),
  )
  .max(10)

export const tenantLimits = z.strictObject({
  requests_per_minute: count()
    .optional()
    .describe('Jobs a minute the tenant may submit. Without it: not limited.'),
  max_queued: count().optional().describe('Open jobs the tenant may have. Default: jobs.max_queued.'),
  max_schedules: count().optional().describe('Schedules the tenant may have. Default: jobs.max_schedules.'),
  budget_usd_per_day: z
    .number()
    .min(0)
    .optional()
    .describe('USD a UTC day the tenant may spend. Without it: not limited.'),
  budgets: keyBudgets
    .optional()
    .describe('USD the tenant may spend in a day, a week or a month. Without it: not limited.'),
})

export const fairKeyLimits = z.strictObject({
  max_running: count()
    .optional()
    .describe('Calls of one fair key that may be under way. Without it: not limited.'),
  max_queued: count()
    .optional()
    .describe('Open jobs that one fair key may have. Without it: as many as its tenant.'),
  requests_per_minute: count()
    .optional()
    .describe('Calls of one fair key that may begin in a minute. Without it: not limited.'),
  budget_usd_per_day: z
    .number()
    .min(0)
    .optional()
    .describe('USD a UTC day that each fair key may spend. Without it: not limited.'),
  budgets: keyBudgets
    .optional()
    .describe('USD that each fair key may spend in a day, a week or a month. Without it: not limited.'),
})

const tenantKey = z.string().regex(tenantKeyPattern, {
  error: 'expected a key of at least 16 characters without spaces, or "sha256:" and 64 hex digits',
})

export const modelPatterns = z
  .array(
    z.string().regex(/^\P{Cc}{1,256}$/u, {
      error: 'expected a lane, an alias, or a pattern such as "openai/*"',
    }),
  )
  .min(1)
  .max(100)

/** What a tenant has however it was made: in the file, or by the API. */
export const tenantSettings = z.strictObject({
  cache: z
    .strictObject({
      mode: cacheModeSchema
        .prefault('exact')
        .describe(
          '"off": every job of the tenant makes a call of its own, and no answer is kept. Default exact.',
        ),
    })
    .prefault({})
    .describe('Whether equal jobs of the tenant may have one answer.'),
  weight: z
    .number()
    .min(0.001)
    .max(1000)
    .prefault(1)
    .describe('Share of a contended lane, against the weights of the others. Default 1.'),
  limits: tenantLimits.prefault({}).describe('What the tenant may use.'),
  per_fair_key: fairKeyLimits
    .optional()
    .describe(
      'What each fair key (`fair_key` of a job, such as an end user) may use of it. Without it: no limits.',
    ),
  models: modelPatterns
    .optional()
    .describe('Models the tenant may call: lanes, aliases, or patterns such as "openai/*". Default: all.'),
})

const tenant = z.strictObject({
  ...tenantSettings.shape,
  keys: z
    .array(tenantKey)
    .min(1)
    .describe(
      'Keys the tenant may send: plain, at least 16 characters, or "sha256:" and the hex digest. Two may be live at once.',
    ),
  admin: z.boolean().prefault(false).describe('May use the operations routes. Default false.'),
})

const cache = z.strictObject({
  mode: cacheModeSchema
    .prefault('exact')
    .describe(
      '"exact": equal jobs have one answer. "off": every job makes a call of its own, and no answer is kept. Default exact.',
    ),
  ttl: duration().prefault('24h').describe('How long an answer may serve again.'),
  max_result: size().prefault('1MiB').describe('Answers over this size are not cached.'),
  embedding_items: z
    .boolean()
    .prefault(true)
    .describe('Keep the vector of each input of an embedding job by itself as well. Default true.'),
})

const jobs = z.strictObject({
  retain: duration().prefault('7d').describe('How long a finished job, with its result and events, is kept.'),
  hot: duration({ min: '1s' })
    .prefault('1h')
    .describe(
      'How long a finished job stays in Redis where it goes to the history; its events go then. Nothing without a history.',
    ),
  max_queued: count()
    .prefault(1_000_000)
    .describe('Open jobs of all tenants together, and of a tenant that sets no max_queued of its own.'),
  max_schedules: count()
    .prefault(1_000)
    .describe('Schedules of a tenant that sets no max_schedules of its own.'),
  stalled_after: duration({ min: '1s', max: '10m' })
    .prefault('15s')
    .describe("After how long without a sign of life a worker's jobs go to others."),
})

const listen = z.strictObject({
  host: z
    .string()
    .regex(/^\S+$/, { error: 'expected a host name or an address' })
    .prefault('127.0.0.1')
    .describe(
      'Address for it. No key is asked there: loopback, or a private network. WORKER_HOST in the environment overrides it. Restart to change.',
    ),
  port: z
    .int()
    .min(0)
    .max(65535)
    .describe(
      'Port for it; 0 takes a free one. WORKER_PORT in the environment overrides it. Restart to change.',
    ),
})

const worker = z.strictObject({
  listen: listen
    .optional()
    .describe(
      'Where a worker answers /healthz, /readyz and /metrics, without a key. Without it a worker does not listen. Restart to change.',
    ),
  hung_after: duration({ min: '1s', max: '1d' })
    .prefault('5m')
    .describe(
      'After how long without a turn of its main loop a worker that still runs is taken for hung, and its jobs go to others. Restart to change.',
    ),
  spool: z
    .string()
    .regex(/^[^\0]+$/, { error: 'expected the path of a folder' })
    .prefault('.sluice/spool')
    .describe(
      'Folder for results that Redis does not take: they are stored from there, also after the death of their worker. Restart to change.',
    ),
})

const s3 = z.strictObject({
  bucket: z
    .string()
    .regex(/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/, { error: 'expected the name of a bucket' })
    .describe('Bucket, which has to exist. Restart to change.'),
  endpoint: httpUrl()
    .optional()
    .describe(
      'Where the store is, without the bucket: http://minio:9000. Default: AWS in this region. Restart to change.',
    ),
  region: z
    .string()
    .regex(/^[a-z0-9-]{1,64}$/, { error: 'expected the name of a region' })
    .prefault('us-east-1')
    .describe('Region, as signatures name it; many other stores take "auto". Restart to change.'),
  prefix: z
    .string()
    .regex(/^(?:[A-Za-z0-9][A-Za-z0-9._-]*(?:\/[A-Za-z0-9][A-Za-z0-9._-]*)*)?$/, {
      error: 'expected words of letters, digits and . _ - with single slashes between',
    })
    .max(256)
    .prefault('sluice')
    .describe('What all keys in the bucket begin with; may be empty. Restart to change.'),
  access_key_id: secret().describe('Id of the key. Restart to change.'),
  secret_access_key: secret().describe('The key. Restart to change.'),
})

const files = z.strictObject({
  store: z
    .enum(['redis', 'folder', 's3'])
    .optional()
    .describe(
      'Where the content of new files goes. Default: folder where npm start brings its own Redis, else redis. Restart to change.',
    ),
  folder: z
    .string()
    .regex(/^[^\0]+$/, { error: 'expected the path of a folder' })
    .prefault('.sluice/files')
    .describe(
      'Folder for files where store is folder; all processes have to see the same one. Restart to change.',
    ),
  s3: s3
    .optional()
    .describe(
      'Bucket for files where store is s3, in S3 or any store that speaks its API. Restart to change.',
    ),
  max_bytes_per_tenant: size()
    .prefault('2GiB')
    .describe('Bytes that the files of a tenant may have together before uploads are refused.'),
  retain: duration({ min: '1h' })
    .prefault('30d')
    .describe('How long a file is kept whose upload does not say.'),
})

const flows = z.strictObject({
  max_steps: z.int().min(1).max(1_000).prefault(1_000).describe('Steps that a flow may have.'),
  max_elements: z
    .int()
    .min(1)
    .max(10_000)
    .prefault(10_000)
    .describe('Elements that a list of for_each may have: each is a job.'),
  max_open: count().prefault(10_000).describe('Flows of a tenant that may be open at the same time.'),
  max_size: size().prefault('4MiB').describe('Bytes that a flow may have as JSON, its input included.'),
  max_signal: size().prefault('256KiB').describe('Bytes that a signal may have as JSON.'),
  max_value: size()
    .prefault('16MiB')
    .describe('Bytes of results that the expressions of one step may read together.'),
})

const encryption = z.strictObject({
  keys: z
    .array(
      z.string().regex(encryptionKeyPattern, {
        error: 'expected a key of 32 bytes, as base64 or as 64 hex digits',
      }),
    )
    .max(32)
    .prefault([])
    .describe(
      'Keys of 32 bytes each, as base64 or hex: the first encrypts, all decrypt. None: nothing is encrypted.',
    ),
})

function isHttpUrl(text: string): boolean {
  return URL.canParse(text) && /^https?:$/.test(new URL(text).protocol) && !/\s/.test(text)
}

const webhooks = z.strictObject({
  secret: secret()
    .refine((text) => !text.startsWith('whsec_') || /^whsec_[A-Za-z0-9+/]+={0,2}$/.test(text), {
      error: 'expected base64 behind "whsec_"',
    })
    .optional()
    .describe('Signs deliveries: "whsec_" and base64, or any other text.'),
  allow_private_addresses: z
    .boolean()
    .prefault(false)
    .describe('Deliver to private and loopback addresses also. Default false.'),
  schedule: z
    .array(duration({ min: '0ms', max: '7d' }))
    .min(1)
    .max(32)
    .prefault(['0s', '5s', '5m', '30m', '2h', '5h', '10h', '10h'])
    .describe('Wait before each attempt of a delivery; the list ends the attempts.'),
  operations_url: z
    .string()
    .refine(isHttpUrl, { error: 'expected an http:// or https:// URL' })
    .optional()
    .describe(
      'Hears when a budget comes to 80 % and to 100 %, as signed as other deliveries are. Without it nobody is told by webhook.',
    ),
})

const budgets = z.strictObject({
  unknown_price: z
    .enum(['allow', 'refuse'])
    .prefault('allow')
    .describe(
      '"refuse": a job that counts against a budget is refused where its model has no price. "allow": it is taken, and no budget sees it. Default allow.',
    ),
})

const network = z.strictObject({
  proxy: z
    .string()
    .refine((text) => text === 'none' || isProxyUrl(text), {
      error: 'expected the http:// or https:// URL of a proxy, or none',
    })
    .optional()
    .describe(
      'Proxy for calls to providers, webhooks and traces: an http:// or https:// URL, which may hold a user and a password; "none": no proxy, whatever the environment says. Default: HTTPS_PROXY and HTTP_PROXY of the environment. Restart to change.',
    ),
  no_proxy: z
    .array(z.string().regex(/^[^\s,]+$/, { error: 'expected one host, such as localhost or .internal' }))
    .optional()
    .describe(
      'Hosts that are reached directly, each with its subdomains, and with :port for that port alone. Default: NO_PROXY of the environment. Restart to change.',
    ),
})

const log = z.strictObject({
  level: z
    .enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'])
    .prefault('info')
    .describe('Least severe messages to log.'),
})

const tracing = z.strictObject({
  endpoint: httpUrl()
    .optional()
    .describe(
      'Where spans are sent: an OTLP/HTTP URL such as http://127.0.0.1:4318/v1/traces. None: nothing is traced.',
    ),
  headers: z.record(headerName, headerSecret()).prefault({}).describe('HTTP headers to send with the spans.'),
  sample: z
    .number()
    .min(0)
    .max(1)
    .prefault(1)
    .describe('Share of the traces to send, of those whose caller has not decided already.'),
  content: z.boolean().prefault(false).describe('Put prompts and answers into the spans. Default false.'),
  service_name: z
    .string()
    .min(1)
    .max(255)
    .prefault('sluice')
    .describe('Whose the spans are: `service.name`.'),
})

export const tenantName = z.string().regex(namePattern, {
  error: 'a name starts with a letter or a digit and has letters, digits and . _ - only, 64 at the most',
})

const alias = z.string().regex(aliasPattern, {
  error:
    'an alias starts with a letter or a digit and has letters, digits and . _ : - only (no "/"), 64 at the most',
})

const members = z.strictObject({
  server: server.prefault({}).describe('Where the API listens.'),
  redis: redis.prefault({}).describe('The store.'),
  providers: z
    .record(tenantName, providerSchema)
    .refine((providers) => Object.keys(providers).length > 0, { error: 'expected at least one provider' })
    .describe('Who answers the calls, each under a name of your choice: a lane is "name/model".'),
  routes: z
    .record(alias, z.array(z.string()).min(1))
    .prefault({})
    .describe('Aliases of lanes: the first able one serves, the next is the fallback.'),
  tenants: z
    .record(tenantName, tenant)
    .prefault({})
    .describe('Who may use the service. None: one tenant without a key, on loopback only.'),
  budgets: budgets.prefault({}).describe('What holds for all budgets.'),
  cache: cache.prefault({}).describe('Answers that serve again.'),
  jobs: jobs.prefault({}).describe('How jobs are kept.'),
  history: historySchema
    .optional()
    .describe(
      'A database for finished jobs, so that Redis holds only what is open or hot; "off": none. Default: off, but where npm start brings its own Redis, a SQLite file beside that.',
    ),
  redrive: redriveSchema
    .prefault([])
    .describe('Failed jobs that are queued again by themselves: the first entry that names a job is for it.'),
  schedules: schedulesSchema
    .prefault([])
    .describe(
      'Jobs that are made again and again; they are read-only in the API, and gone when taken out here.',
    ),
  worker: worker.prefault({}).describe('How workers hold their jobs.'),
  files: files.prefault({}).describe('How files of batches are kept.'),
  flows: flows.prefault({}).describe('How large flows may be.'),
  encryption: encryption.prefault({}).describe('How prompts and answers are encrypted at rest.'),
  webhooks: webhooks.prefault({}).describe('How finished jobs are announced.'),
  network: network.prefault({}).describe('The way out: proxies for what Sluice sends.'),
  log: log.prefault({}).describe('What is logged.'),
  tracing: tracing
    .prefault({})
    .describe('Where traces are sent, in the way of OpenTelemetry. Restart to change.'),
})

/**
 * The configuration: types, defaults, checks and (through config/json-schema.ts) the published JSON Schema.
 * The input is the YAML's shape; in the output durations are milliseconds, sizes are bytes, defaults are filled in.
 */
export const configSchema = members.superRefine(
  (config, context) => {
    for (const fault of checkReferences(config)) context.addIssue({ code: 'custom', ...fault })
  },
  // Runs even if other checks failed, so that one start lists every fault.
  { when: () => true },
)

export type Config = z.output<typeof configSchema>
export type ConfigInput = z.input<typeof configSchema>
