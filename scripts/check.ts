/** `npm run check`: everything that CI and a reviewer would find. All steps run; it fails if one of them fails. */
import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { styleText } from 'node:util'
import { checkImports } from './check-imports.ts'

type Outcome = { ok: boolean; report: string }
type Step = { name: string; run: () => Promise<Outcome> }

const root = fileURLToPath(new URL('..', import.meta.url))
/** Biome would colour output that goes into a pipe. */
const colors = `--colors=${process.stdout.isTTY ? 'force' : 'off'}`
let running: ChildProcess | undefined
let stopped = false

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    stopped = true
    running?.kill(signal)
  })
}

const steps: Step[] = [
  { name: 'format and lint', run: () => runTool('biome', 'ci', colors, '--error-on-warnings', '.') },
  { name: 'types', run: () => runTool('tsc', '-p', '.') },
  { name: 'types of the dashboard', run: () => runTool('tsc', '-p', 'dashboard') },
  { name: 'import walls', run: runImportWalls },
  { name: 'dead code', run: () => runTool('knip') },
  { name: 'tests', run: () => runNode('inherit', 'node_modules/vitest/vitest.mjs', 'run') },
]

const failed: string[] = []
for (const { name, run } of steps) {
  const started = performance.now()
  const { ok, report } = await run()
  const seconds = ((performance.now() - started) / 1_000).toFixed(1)
  console.log(`${ok ? styleText('green', '✓') : styleText('red', '✗')} ${name} ${seconds} s`)
  if (!ok) {
    failed.push(name)
    if (report !== '') console.log(report)
  }
  if (stopped) break
}
if (failed.length > 0) console.log(styleText('red', `failed: ${failed.join(', ')}`))
process.exitCode = failed.length > 0 || stopped ? 1 : 0

/** Runs a package's command; its output is worth reading only when it fails. */
function runTool(name: string, ...args: string[]): Promise<Outcome> {
  return runNode('pipe', `node_modules/.bin/${name}`, ...args)
}

function runNode(output: 'inherit' | 'pipe', ...args: string[]): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { cwd: root, stdio: ['ignore', output, output] })
    running = child
    let report = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (chunk: string) => {
        report += chunk
      })
    }
    child.on('error', reject)
    child.on('close', (code) => resolve({ ok: code === 0, report: report.trimEnd() }))
  })
}

async function runImportWalls(): Promise<Outcome> {
  const faults = await checkImports(root)
  return { ok: faults.length === 0, report: faults.join('\n') }
}
