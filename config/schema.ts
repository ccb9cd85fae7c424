import { z } from 'zod'
import { checkReferences } from './cross-checks.ts'
import { filesSchema } from './files-schema.ts'
import { historySchema } from './history-schema.ts'
import { cacheSchema, encryptionSchema, flowsSchema, jobsSchema } from './jobs-schema.ts'
import { providerSchema } from './provider-schema.ts'
import { redisSchema } from './redis-schema.ts'
import { redriveSchema } from './redrive-schema.ts'
import { schedulesSchema } from './schedules-schema.ts'
import { aliasPattern } from './schema-parts.ts'
import { logSchema, networkSchema, serverSchema, tracingSchema } from './server-schema.ts'
import { budgetsSchema, tenantName, tenantSchema } from './tenants-schema.ts'
import { webhooksSchema } from './webhooks-schema.ts'
import { workerSchema } from './worker-schema.ts'

const alias = z.string().regex(aliasPattern, {
  error:
    'an alias starts with a letter or a digit and has letters, digits and . _ : - only (no "/"), 64 at the most',
})

const members = z.strictObject({
  server: serverSchema.prefault({}).describe('Where the API listens.'),
  redis: redisSchema.prefault({}).describe('The store.'),
  providers: z
    .record(tenantName, providerSchema)
    .refine((providers) => Object.keys(providers).length > 0, { error: 'expected at least one provider' })
    .describe('The providers, each under a name of your choice. A lane is "name/model".'),
  routes: z
    .record(alias, z.array(z.string()).min(1))
    .prefault({})
    .describe(
      'Aliases of lanes. Jobs go to the first lane that can serve them; the next one is the fallback.',
    ),
  tenants: z
    .record(tenantName, tenantSchema)
    .prefault({})
    .describe('Tenants of the service. Without any: one tenant without a key, on loopback only.'),
  budgets: budgetsSchema.prefault({}).describe('Settings of all budgets.'),
  cache: cacheSchema.prefault({}).describe('Cached answers.'),
  jobs: jobsSchema.prefault({}).describe('How long and how many jobs are kept.'),
  history: historySchema
    .optional()
    .describe(
      'A database for finished jobs, so that Redis holds only open and hot jobs; "off": none. Default: off; if npm start runs its own Redis, a SQLite file next to it.',
    ),
  redrive: redriveSchema
    .prefault([])
    .describe('Rules by which Sluice queues failed jobs again. The first entry that matches a job applies.'),
  schedules: schedulesSchema
    .prefault([])
    .describe('Schedules of the file. They are read-only in the API, and deleted when you remove them here.'),
  worker: workerSchema.prefault({}).describe('How workers hold their jobs.'),
  files: filesSchema.prefault({}).describe('Where files are stored, and how long.'),
  flows: flowsSchema.prefault({}).describe('Limits of flows.'),
  encryption: encryptionSchema.prefault({}).describe('Encryption at rest of prompts and answers.'),
  webhooks: webhooksSchema.prefault({}).describe('Webhooks of finished jobs.'),
  network: networkSchema.prefault({}).describe('Proxies for outgoing requests.'),
  log: logSchema.prefault({}).describe('The log.'),
  tracing: tracingSchema
    .prefault({})
    .describe('Where traces are sent, with OpenTelemetry. Restart to change.'),
})

/**
 * The configuration: types, defaults, checks and (through config/json-schema.ts) the published JSON Schema. The input has the shape of the
 * YAML file; in the output durations are milliseconds, sizes are bytes, and defaults are filled in.
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
