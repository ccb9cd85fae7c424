import { parseArgs } from 'node:util'

export const HELP = `Usage: npm run bench -- [options]

Compares Sluice with bare BullMQ and with a queue built by hand, on one Redis, in front of an instant upstream.

  --jobs N          chat jobs of each system in each round (default 10000)
  --rounds N        rounds, the systems taking turns (default 3)
  --concurrency N   calls at once in the queue built by hand and in Sluice (default 64)
  --quick           a smoke run of a few seconds, whose numbers mean nothing
  --out DIR         where the results are written (default bench/results; --quick writes none without it)
  --profile DIR     writes a V8 CPU profile of every process there; bench/self-time.ts reads them
  --help            this text
`

export type BenchOptions = {
  jobs: number
  rounds: number
  concurrency: number
  warmUpJobs: number
  /** Jobs of each system that are sent while Redis logs every command. */
  tracedJobs: number
  latencyJobs: number
  cacheHits: number
  embeddingJobs: number
  quick: boolean
  /** Where the results go; null: nowhere. */
  out: string | null
  /** Where CPU profiles go; null: none are made. */
  profile: string | null
}

/**
 * Reads the command line; null when it asks for help.
 *
 * @throws TypeError for an unknown option or an invalid number
 */
export function readOptions(args: string[], defaultOut: string): BenchOptions | null {
  const { values } = parseArgs({
    args,
    options: {
      jobs: { type: 'string' },
      rounds: { type: 'string' },
      concurrency: { type: 'string', default: '64' },
      quick: { type: 'boolean', default: false },
      out: { type: 'string' },
      profile: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) return null
  const { quick } = values
  return {
    jobs: readCount('--jobs', values.jobs ?? (quick ? '200' : '10000')),
    rounds: readCount('--rounds', values.rounds ?? (quick ? '1' : '3')),
    concurrency: readCount('--concurrency', values.concurrency),
    warmUpJobs: quick ? 50 : 2000,
    tracedJobs: quick ? 100 : 1000,
    latencyJobs: quick ? 10 : 300,
    cacheHits: quick ? 100 : 5000,
    embeddingJobs: quick ? 100 : 5000,
    quick,
    out: values.out ?? (quick ? null : defaultOut),
    profile: values.profile ?? null,
  }
}

function readCount(name: string, text: string): number {
  const value = Number(text)
  if (!Number.isInteger(value) || value < 1)
    throw new TypeError(`${name}: expected a whole number from 1, got "${text}"`)
  return value
}
