/** `npm run test:seeds`: the tests that choose at random, with one random seed after another. */
import { spawnSync } from 'node:child_process'
import { globSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { chooseSeed, SEED_VARIABLE } from '../helpers/seed.ts'

const HELP = `Usage: npm run test:seeds -- [options] [FILE...]

Runs the tests that choose at random, or those in these files, once with each of several random seeds. Stops at the first
seed with which a test fails, prints it, and exits 1.

  --rounds N  how many seeds; 10 unless given
  --help      this text
`

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))))
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { rounds: { type: 'string', default: '10' }, help: { type: 'boolean', default: false } },
})
const rounds = Number(values.rounds)
if (values.help) process.stdout.write(HELP)
else if (!Number.isSafeInteger(rounds) || rounds < 1) {
  process.stderr.write(`--rounds: expected a whole number from 1, got "${values.rounds}"\n`)
  process.exitCode = 2
} else process.exitCode = tryRounds(positionals.length > 0 ? positionals : findRandomTests())

function tryRounds(files: readonly string[]): number {
  const vitest = join(root, 'node_modules/vitest/vitest.mjs')
  for (let round = 1; round <= rounds; round++) {
    const seed = chooseSeed({})
    process.stdout.write(`round ${round} of ${rounds}: ${SEED_VARIABLE}=${seed}\n`)
    const { status } = spawnSync(process.execPath, [vitest, 'run', ...files], {
      cwd: root,
      stdio: 'inherit',
      // Without CI: a failure must not be hidden by another try.
      env: { ...process.env, CI: '', [SEED_VARIABLE]: String(seed) },
    })
    if (status === 0) continue
    process.stdout.write(`\nfailed; to see it again: ${SEED_VARIABLE}=${seed} npm test -- FILE\n`)
    return 1
  }
  return 0
}

/** Files with properties, and those that use the seed of the run. */
function findRandomTests(): string[] {
  return globSync('test/{unit,contract,integration}/**/*.test.ts', { cwd: root })
    .filter((path) =>
      /from '(?:fast-check|.*helpers\/seed\.ts)'/.test(readFileSync(join(root, path), 'utf8')),
    )
    .sort()
}
