/** `npm run mutate`: see options.ts. */
import { readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { applyBreak, type Break, countPlaces } from './break.ts'
import { copyCheckout } from './checkout.ts'
import { BREAKS } from './list.ts'
import { HELP, readOptions } from './options.ts'
import { isSound, type Result, renderSummary } from './report.ts'
import { endTests, runTests } from './run-tests.ts'

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))))
const say = (line: string) => process.stdout.write(`${line}\n`)

const options = readOptions(process.argv.slice(2))
if (options === null) process.stdout.write(HELP)
else {
  const chosen = BREAKS.filter(({ file, says }) => options.only?.test(`${file}: ${says}`) ?? true)
  if (chosen.length === 0) throw new Error(`no break matches ${options.only}`)
  if (options.isList) for (const { file, says } of chosen) say(`${file}: ${says}`)
  else await tryAll(chosen, options.checksFirst)
}

async function tryAll(breaks: readonly Break[], checksFirst: boolean): Promise<void> {
  const copy = copyCheckout(root)
  let isStopped = false
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => {
      isStopped = true
      endTests()
    })
  try {
    if (checksFirst) await checkTests(copy.directory, breaks)
    const results: Result[] = []
    for (const one of breaks) {
      const since = performance.now()
      const result = await tryOne(copy.directory, one)
      if (isStopped) break
      results.push(result)
      const seconds = ((performance.now() - since) / 1000).toFixed(1)
      say(`${result.verdict.padEnd(8)} ${seconds.padStart(5)} s  ${one.file}: ${one.says}`)
    }
    say(`\n${renderSummary(results)}`)
    process.exitCode = isStopped ? 130 : isSound(results) ? 0 : 1
  } finally {
    copy.remove()
  }
}

/** A test that fails without any break says nothing about one. */
async function checkTests(directory: string, breaks: readonly Break[]): Promise<void> {
  const files = [...new Set(breaks.flatMap(({ tests }) => tests))].sort()
  say(`${files.length} test files without any break`)
  const { outcome, output } = await runTests(directory, files, undefined, false)
  if (outcome !== 'passed') throw new Error(`the tests fail without any break:\n${output}`)
}

async function tryOne(directory: string, one: Break): Promise<Result> {
  const path = join(directory, one.file)
  const text = readFileSync(path, 'utf8')
  const places = countPlaces(text, one)
  if (places !== 1)
    return { one, verdict: 'untrue', detail: `its text stands ${places} times in the file, not once` }
  writeFileSync(path, applyBreak(text, one))
  try {
    const { outcome } = await runTests(directory, one.tests, one.titles)
    if (outcome === 'silent') return { one, verdict: 'untrue', detail: 'none of its tests is there' }
    return { one, verdict: outcome === 'passed' ? 'survived' : 'caught', detail: outcome }
  } finally {
    writeFileSync(path, text)
  }
}
