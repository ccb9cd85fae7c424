import { parseArgs } from 'node:util'

export type Options = {
  only: string[]
  seed: number
  quick: boolean
  kills: number
  minutes: number
  from: string
}

/** @param names of the faults with what they do */
export function renderHelp(names: readonly { name: string; title: string }[]): string {
  const width = Math.max(...names.map(({ name }) => name.length))
  return `Usage: npm run faults -- [options]

Breaks a real deployment under load, in one way after the other: real processes, a real Redis, a simulated provider that
logs every call it would bill. Exits 1 when a job was lost, a call was paid twice without a flag, or another promise was
broken. Everything takes about half an hour.

  --only NAME   one of these; may be repeated:
${names.map(({ name, title }) => `                  ${name.padEnd(width)}  ${title}`).join('\n')}
  --kills N     processes that are killed in mid-call, in the middle of slots, flows and durable functions (default 10)
  --minutes N   for which everything happens at random in the end (default 1)
  --from REV    the release that \`roll-out\` begins with, as Git names it (default HEAD~100)
  --seed N      of everything that is left to chance (default: another one each time; it is printed)
  --quick       fewer blows, shorter outages, twelve minutes
  --help        this text
`
}

/**
 * Reads the command line; null when it asks for help.
 *
 * @throws TypeError for an unknown option, an unknown fault or an invalid number
 */
export function readOptions(args: string[], names: readonly string[], random: () => number): Options | null {
  const { values } = parseArgs({
    args,
    options: {
      only: { type: 'string', multiple: true },
      seed: { type: 'string' },
      kills: { type: 'string' },
      minutes: { type: 'string' },
      from: { type: 'string', default: 'HEAD~100' },
      quick: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) return null
  const only = values.only ?? []
  const unknown = only.find((name) => !names.includes(name))
  if (unknown !== undefined)
    throw new TypeError(`--only: expected one of ${names.join(', ')}, got "${unknown}"`)
  return {
    only: only.length === 0 ? [...names] : names.filter((name) => only.includes(name)),
    seed: values.seed === undefined ? Math.floor(random() * 2 ** 31) : readCount('--seed', values.seed),
    quick: values.quick,
    kills: readCount('--kills', values.kills ?? (values.quick ? '3' : '10')),
    minutes: readMinutes(values.minutes ?? (values.quick ? '0.3' : '1')),
    from: values.from,
  }
}

function readMinutes(text: string): number {
  const value = Number(text)
  if (text.trim() === '' || !(value > 0))
    throw new TypeError(`--minutes: expected a number over 0, got "${text}"`)
  return value
}

function readCount(name: string, text: string): number {
  const value = Number(text)
  if (!Number.isInteger(value) || value < 1)
    throw new TypeError(`${name}: expected a whole number from 1, got "${text}"`)
  return value
}
