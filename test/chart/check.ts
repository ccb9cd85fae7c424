/**
 * Renders the Helm chart by Go's own templates with sprig, as Helm does, and compares that with what the tests render. It needs Go, and Debian has all of it:
 * `apt-get install golang-go golang-github-masterminds-sprig-dev golang-github-ghodss-yaml-dev`. `npm run chart:check`
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { parse } from 'yaml'
import { CHART, listChartValues } from '../helpers/chart-values.ts'
import { readChartData, readObjects, renderChart } from '../helpers/helm-chart.ts'

const folder = mkdtempSync(join(tmpdir(), 'sluice-chart-'))
let differences = 0
try {
  for (const { name, values } of listChartValues()) {
    const data = readChartData(CHART, values, 'try')
    const [ours, theirs] = [renderChart(CHART, data), renderByGo(data)]
    for (const [file, text] of Object.entries(theirs)) {
      const isSame = isDeepStrictEqual(readMeaning(file, ours[file]!), readMeaning(file, text))
      if (!isSame) differences++
      process.stdout.write(`${isSame ? 'same     ' : 'DIFFERENT'}  ${name}  ${file}\n`)
    }
  }
} finally {
  rmSync(folder, { recursive: true })
}
process.exitCode = differences === 0 ? 0 : 1

function renderByGo(data: object): Record<string, string> {
  const values = join(folder, 'data.json')
  writeFileSync(values, JSON.stringify(data))
  const env = {
    ...process.env,
    GO111MODULE: 'off',
    GOPATH: '/usr/share/gocode',
    GOCACHE: join(tmpdir(), 'sluice-go'),
  }
  const program = join(import.meta.dirname, 'render.go')
  return JSON.parse(execFileSync('go', ['run', program, CHART, values], { env, encoding: 'utf8' }))
}

/** Objects, and the configuration inside of them; notes unchanged. The order of members does not matter. */
function readMeaning(file: string, text: string): unknown {
  if (!file.endsWith('.yaml')) return text
  return readObjects({ [file]: text }).map((one) => {
    const config = (one.data as Record<string, string> | undefined)?.['sluice.yaml']
    return config === undefined ? one : { ...one, data: parse(config) }
  })
}
