import { parseArgs } from 'node:util'

export const HELP = `Usage: npm run bench:door -- [options]

What a gateway adds to a call: the upstream itself, Portkey's gateway as a pass-through proxy, Sluice without its cache
(two processes, and all in one), hits of its cache, and Sluice by Anthropic's door, in turns. Exits 1 when Sluice misses the least of its goals.

  --rounds N          rounds, the systems taking turns (default 5)
  --cell MS           how long each system is called in each way in a round (default 1500)
  --latency MS        of the upstream (default 5)
  --concurrency N     calls at once, besides one at a time (default 32)
  --without-portkey   does not fetch that gateway from the npm registry and leaves it out
  --quick             a smoke run of a few seconds, whose numbers mean nothing
  --out DIR           where the results are written (default bench/results; --quick writes none without it)
  --profile DIR       writes a V8 CPU profile of every process there
  --help              this text
`

export type DoorOptions = {
  rounds: number
  /** How long one system is called in one way, ms. */
  cellMs: number
  warmUpMs: number
  latencyMs: number
  concurrency: number
  withPortkey: boolean
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
export function readOptions(args: string[], defaultOut: string): DoorOptions | null {
  const { values } = parseArgs({
    args,
    options: {
      rounds: { type: 'string' },
      cell: { type: 'string' },
      latency: { type: 'string', default: '5' },
      concurrency: { type: 'string', default: '32' },
      'without-portkey': { type: 'boolean', default: false },
      quick: { type: 'boolean', default: false },
      out: { type: 'string' },
      profile: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) return null
  const { quick } = values
  return {
    rounds: readCount('--rounds', values.rounds ?? (quick ? '1' : '5'), 1),
    cellMs: readCount('--cell', values.cell ?? (quick ? '100' : '1500'), 1),
    warmUpMs: quick ? 100 : 1500,
    latencyMs: readCount('--latency', values.latency, 0),
    concurrency: readCount('--concurrency', values.concurrency, 2),
    withPortkey: !values['without-portkey'],
    quick,
    out: values.out ?? (quick ? null : defaultOut),
    profile: values.profile ?? null,
  }
}

function readCount(name: string, text: string, least: number): number {
  const value = Number(text)
  if (!Number.isInteger(value) || value < least)
    throw new TypeError(`${name}: expected a whole number from ${least}, got "${text}"`)
  return value
}
