import { z } from 'zod'
import { duration } from './schema-parts.ts'

const expectedUrl = 'expected sqlite: with the path of a file, or a postgres:// URL'

function isDatabaseUrl(text: string): boolean {
  if (text.startsWith('sqlite:')) return /^sqlite:[^\0]+$/.test(text)
  return /^postgres(?:ql)?:\/\/\S+$/.test(text) && URL.canParse(text)
}

const database = z.strictObject({
  url: z
    .string()
    .refine(isDatabaseUrl, { error: expectedUrl })
    .describe(
      'The database: sqlite: and the path of a file, for one machine, or postgres://user:password@host/database. Restart to change.',
    ),
  keep: duration({ min: '1s' })
    .prefault('90d')
    .describe(
      'How long the database keeps anything: sums of usage for this long, jobs for jobs.retain and no longer than this. Restart to change.',
    ),
  content: z
    .enum(['full', 'none'])
    .prefault('full')
    .describe(
      'Whether prompts and results are stored there too. With none, jobs lose them after jobs.hot. Restart to change.',
    ),
})

/** The database of finished jobs. */
export const historySchema = z.union([z.literal('off'), database])
