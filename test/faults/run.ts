/** `npm run faults`: see options.ts. */
import type { Fault, Settings } from './fault.ts'
import { FAULTS } from './list.ts'
import { readOptions, renderHelp } from './options.ts'
import { isSound, type Result, renderResults } from './report.ts'
import type { Stage } from './stage.ts'
import { within } from './wait.ts'

/** A fault that takes longer than this hangs; blows of the mix and requested kills do not count. */
const MOST_MS = 10 * 60_000
const KILL_MS = 10_000

const interrupted = Promise.withResolvers<never>()
interrupted.promise.catch(() => {})
for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const) {
  process.once(signal, () => {
    process.exitCode = code
    interrupted.reject(new Error('interrupted'))
  })
}

const names = FAULTS.map(({ name }) => name)
const options = readOptions(process.argv.slice(2), names, Math.random)
if (options === null) process.stdout.write(renderHelp(FAULTS))
else {
  say(`seed ${options.seed}`)
  const results: Result[] = []
  for (const fault of FAULTS.filter(({ name }) => options.only.includes(name))) {
    say(`${fault.title}`)
    results.push(await carryOut(fault))
    if (process.exitCode !== undefined) break
  }
  process.stdout.write(`\n${renderResults(results)}`)
  if (!results.every(isSound)) process.exitCode ??= 1
  // A fault that was given up may have left timers and requests.
  process.exit()
}

async function carryOut(fault: Fault): Promise<Result> {
  const { quick, seed, kills, minutes, from } = options!
  const stages: Stage[] = []
  const settings: Settings = {
    seed,
    quick,
    kills,
    from,
    mixMs: minutes * 60_000,
    stalledAfterMs: quick ? 5000 : 15_000,
    say: (line) => say(`  ${line}`),
    opened: (stage) => void stages.push(stage),
  }
  const startedAt = performance.now()
  const took = () => performance.now() - startedAt
  try {
    const running = within(fault.run(settings), MOST_MS + settings.mixMs + kills * KILL_MS, fault.name)
    const outcome = await Promise.race([running, interrupted.promise])
    return { title: fault.title, wallMs: took(), outcome }
  } catch (error) {
    return {
      title: fault.title,
      wallMs: took(),
      error: error instanceof Error ? error.message : String(error),
    }
  } finally {
    for (const stage of stages) await stage.close()
  }
}

function say(line: string): void {
  process.stderr.write(`${line}\n`)
}
