import { parseArgs } from 'node:util'

export const PARTS = [
  'compare',
  'half',
  'shared',
  'steady',
  'families',
  'sources',
  'ways',
  'fairness',
  'keys',
  'eta',
  'knee',
] as const
export type Part = (typeof PARTS)[number]

export const HELP = `Usage: npm run bench:limits -- [options]

Sends the same calls to a limited upstream in five ways and tells how much of the limit each used and how often each
hit it. Exits 1 when Sluice misses one of its goals. Everything takes about twenty-three minutes.

  --only PART   one of these; may be repeated:
                  compare    400 mixed calls in five ways
                  half       the same, the real limit being half of what everybody believes
                  shared     the same, a second client taking 30% of the limit
                  steady     Sluice over two minutes at a window that is counted strictly
                  families   two lanes that share a limit, over two minutes
                  sources    a lane with three sources with different limits, over two minutes
                  ways       six ways of enforcement, nothing configured but the limits
                  fairness   a quiet tenant behind a noisy one's backlog
                  keys       a key behind 10,000 others of its tenant, all with limits of their own
                  eta        what Sluice foretells of a backlog of 1,000
                  knee       a server of one's own whose hidden knee moves
  --out DIR     where the results are written (default bench/results; none with --only)
  --help        this text
`

export type LimitsOptions = {
  parts: readonly Part[]
  /** Where the results go; null: nowhere. */
  out: string | null
}

/**
 * Reads the command line; null when it asks for help.
 *
 * @throws TypeError for an unknown option or part
 */
export function readOptions(args: string[], defaultOut: string): LimitsOptions | null {
  const { values } = parseArgs({
    args,
    options: {
      only: { type: 'string', multiple: true },
      out: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) return null
  const only = values.only ?? []
  const unknown = only.find((name) => !PARTS.some((part) => part === name))
  if (unknown !== undefined)
    throw new TypeError(`--only: expected one of ${PARTS.join(', ')}, got "${unknown}"`)
  return {
    parts: only.length === 0 ? PARTS : PARTS.filter((part) => only.includes(part)),
    out: values.out ?? (only.length === 0 ? defaultOut : null),
  }
}
