import { z } from 'zod'
import type { RedisClient } from '../../lib/redis.ts'

const count = z.number().nullable()

/** A small snapshot of the installation, for charts. */
export const sampleSchema = z
  .object({
    at: z.iso.datetime(),
    total: z.object({
      finished_per_minute: z.number(),
      in_flight: z.number(),
      waiting: z.number().describe('Queued and scheduled jobs.'),
      failed: z.number().describe('Failed jobs that are kept.'),
      spent_usd: z.number().describe('In the UTC day.'),
      throttled: z.number().describe('429s since the lanes were first used.'),
    }),
    lanes: z
      .record(
        z.string(),
        z.object({
          in_flight: z.number(),
          waiting: z.number(),
          throttled: z.number(),
          paused: z.boolean(),
          used: z
            .object({ requests: count, tokens: count, input_tokens: count, output_tokens: count })
            .describe("What was taken in the provider's window."),
        }),
      )
      .describe('Lanes that were not at rest.'),
  })
  .meta({ id: 'OverviewSample' })

export type OverviewSample = z.output<typeof sampleSchema>

/** Interval of samples, ms, and how many are kept: for the last minutes, and for the last hours. */
export const RECENT = { everyMs: 15_000, most: 40 }
export const HOURS = { everyMs: 120_000, most: 120 }

/** The samples of the last ten minutes and of the last four hours, the oldest first. */
export type OverviewHistory = {
  /** Adds a sample. The list of hours keeps only some. */
  add(sample: OverviewSample): Promise<void>
  read(): Promise<{ recent: OverviewSample[]; hours: OverviewSample[] }>
}

/** Two lists, `<prefix>:{overview}:recent` and `:hours`, which expire when nobody adds to them. */
export function createOverviewHistory({
  redis,
  prefix,
}: {
  redis: RedisClient
  prefix: string
}): OverviewHistory {
  const keyOf = (name: string) => `${prefix}:{overview}:${name}`

  async function push(name: string, text: string, { everyMs, most }: typeof RECENT): Promise<void> {
    const key = keyOf(name)
    await Promise.all([
      redis.rpush(key, text),
      redis.ltrim(key, -most, -1),
      redis.pexpire(key, everyMs * most),
    ])
  }

  const readList = async (name: string) =>
    (await redis.lrange(keyOf(name), 0, -1)).map((text) => JSON.parse(text) as OverviewSample)

  return {
    async add(sample) {
      const text = JSON.stringify(sample)
      await push('recent', text, RECENT)
      const [last] = await redis.lrange(keyOf('hours'), -1, -1)
      const lastAt = last === undefined ? 0 : Date.parse((JSON.parse(last) as OverviewSample).at)
      // A newly elected maintainer continues where the previous one stopped.
      if (Date.parse(sample.at) - lastAt >= HOURS.everyMs - RECENT.everyMs / 2)
        await push('hours', text, HOURS)
    },
    async read() {
      const [recent, hours] = await Promise.all([readList('recent'), readList('hours')])
      return { recent, hours }
    },
  }
}
