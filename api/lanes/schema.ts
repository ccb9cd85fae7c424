import { z } from 'zod'

const number = z.number().nullable()
const counted = { requests: number, tokens: number, input_tokens: number, output_tokens: number }

const limitsSchema = z
  .object({
    ...counted,
    images: number,
    audio_seconds: number,
    requests_per_day: number,
    concurrency: number,
    window_ms: z.number().describe('The window in force.'),
    headroom: z.number(),
  })
  .describe('As configured, per minute; null: no limit.')

const tiersSchema = z.array(
  z.object({
    name: z.string().describe('`flex` or `priority`.'),
    paused_until: z.string().nullable(),
    paused_reason: z.string().nullable(),
    speed: z.number(),
    breaker: z.object({
      state: z.enum(['closed', 'open', 'half_open']),
      failures: z.number(),
      held_tenants: z.array(z.string()),
    }),
  }),
)

export const laneSchema = z
  .object({
    id: z.string().describe('`provider/model`'),
    object: z.literal('lane'),
    provider: z.string(),
    model: z.string(),
    kind: z.string(),
    limits: limitsSchema,
    shared_limits: z
      .array(
        z.object({
          name: z.string(),
          limits: limitsSchema,
          learned: z.object({ requests: number, tokens: number }),
          rates: z.object(counted),
          speed: z.number(),
          levels: z.object(counted),
          utilisation: z.number(),
          used: z.object(counted),
          in_flight: z.number(),
          paused_until: z.string().nullable(),
          paused_reason: z.string().nullable(),
          throttled: z.number(),
        }),
      )
      .describe(
        'The limits that this lane shares with other models: `shared_limits` of the configuration. Usage is that of all these models.',
      ),
    held_back_by: z
      .object({ kind: z.enum(['lane', 'shared_limit']), name: z.string() })
      .nullable()
      .describe('While jobs wait: the limit with the least room, of the lane itself or a shared one.'),
    sources: z
      .array(
        z.object({
          name: z.string(),
          weight: z.number(),
          model: z.string().describe('The name of the model at this source.'),
          limits: limitsSchema,
          learned: z.object({ requests: number, tokens: number, concurrency: number }),
          rates: z.object(counted),
          speed: z.number(),
          levels: z.object(counted),
          utilisation: z.number(),
          used: z.object(counted),
          in_flight: z.number(),
          paused_until: z.string().nullable(),
          paused_reason: z.string().nullable(),
          shut: z
            .object({ until: z.string(), reason: z.string() })
            .nullable()
            .describe(
              'The provider refuses this source (key, account or credit). Nothing is sent until then; afterwards one call at a time, until one is answered.',
            ),
          breaker: z.object({ state: z.enum(['closed', 'open', 'half_open']) }),
          tiers: tiersSchema,
          throttled: z.number(),
        }),
      )
      .describe(
        'The keys, accounts, regions or deployments that serve the lane: `sources` of its model. Empty: there is only one. The members of the lane are those of all sources together.',
      ),
    window: z
      .object({ configured: z.union([z.literal('auto'), z.number()]), learned: number })
      .describe(
        'The period over which the provider counts, in ms: as configured, or for `auto` as learned so far.',
      ),
    token_counting: z
      .object({
        configured: z.enum(['estimate', 'used', 'auto']),
        learned: z.enum(['estimate', 'used']).nullable(),
      })
      .describe(
        'What a call finally counts towards the token limit: its estimate with `max_tokens`, or the tokens that it used. By the kind of the provider; `auto`: the lane learns it from the remaining tokens that the provider reports.',
      ),
    learned: z
      .object({ requests: number, tokens: number, concurrency: number })
      .describe(
        'Limits that the provider reported, if lower than the configured ones, and the concurrency that `max_concurrency: auto` has found.',
      ),
    rates: z.object(counted).describe('Maximum per minute, before `speed` applies.'),
    speed: z.number().describe('Share of the rate in use; below 1 while the lane recovers from a 429.'),
    levels: z
      .object(counted)
      .describe('Level of each bucket; below 0 is a debt that the refill pays off first.'),
    utilisation: z.number().describe('Used share of what the window may hold, by the fullest dimension.'),
    used: z.object(counted).describe("Used in the provider's current window."),
    backlog: z
      .object({ waiting: z.number(), delayed: z.number(), held: z.number() })
      .describe('Jobs that wait, that are due later, and that workers have claimed.'),
    in_flight: z.number().describe('Calls under way.'),
    paused_until: z.string().nullable(),
    paused_reason: z.string().nullable(),
    waiting_for: z.string().nullable(),
    breaker: z.object({
      state: z.enum(['closed', 'open', 'half_open']),
      failures: z.number().describe('Broken calls in a row.'),
      held_tenants: z
        .array(z.string())
        .describe('While it is not closed: the tenants whose calls it holds back, because theirs broke.'),
      last_broken: z
        .array(
          z.object({
            at: z.string(),
            status: z.number().nullable(),
            code: z.string(),
            message: z
              .string()
              .nullable()
              .describe("The provider's message, shortened; null if stored data is encrypted."),
            jobs: z
              .array(z.object({ tenant: z.string(), id: z.string() }))
              .describe('Jobs of the call, at most ten.'),
          }),
        )
        .describe('The last broken calls, the latest first, for seven days.'),
    }),
    tiers: tiersSchema.describe(
      'Service tiers other than the standard one that met a 429 or a broken call. Each has a pause, a pace and a breaker of its own; `paused_until`, `speed` and `breaker` of the lane are those of the standard tier. A pause by hand holds all of them.',
    ),
    latency_ms: z.object({ p50: number, p95: number }).describe('Of the last 256 calls.'),
    throttled: z.number().describe('429s since the lane was first used.'),
  })
  .meta({ id: 'Lane' })
