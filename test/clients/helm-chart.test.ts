// The Helm chart against the schemas and types of Kubernetes, KEDA and Prometheus' operator.
import { execFile } from 'node:child_process'
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { CHART, listChartValues } from '../helpers/chart-values.ts'
import { type KubernetesObject, readChartData, readObjects, renderChart } from '../helpers/helm-chart.ts'

const packages = fileURLToPath(new URL('./node_modules', import.meta.url))
const run = promisify(execFile)

/** The files of the models of an API group. */
const MODELS: Record<string, string> = {
  'keda.sh': '@kubernetes-models/keda/keda.sh',
  'monitoring.coreos.com': '@kubernetes-models/prometheus-operator/monitoring.coreos.com',
  '': 'kubernetes-models',
}
const folderOf = ({ apiVersion, kind }: KubernetesObject) => {
  const [group, version] = apiVersion.includes('/') ? apiVersion.split('/') : ['', apiVersion]
  const own = MODELS[group!]
  return own !== undefined && group !== ''
    ? `${own}/${version}/${kind}`
    : ['kubernetes-models', group, version, kind].filter(Boolean).join('/')
}

const objects = listChartValues().flatMap(({ values }) =>
  readObjects(renderChart(CHART, readChartData(CHART, values))),
)

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sluice-chart-'))
  await symlink(packages, join(folder, 'node_modules'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

async function validate(one: KubernetesObject): Promise<void> {
  const models = await import(join(packages, `${folderOf(one)}.js`))
  const model = new models[one.kind](one)
  model.validate()
}

/** Types name every member, which the schemas do not: an unknown member is an error here. */
async function compile(all: KubernetesObject[]): Promise<string> {
  const lines = all.map(
    (one, at) =>
      `export const object${at}: import("${folderOf(one)}").I${one.kind} = ${JSON.stringify(one, null, 1)}`,
  )
  await writeFile(join(folder, 'objects.ts'), lines.join('\n'))
  const options = ['--noEmit', '--strict', '--skipLibCheck', '--module', 'nodenext', 'objects.ts']
  const tsc = join(packages, 'typescript/lib/tsc.js')
  return run(process.execPath, [tsc, ...options], { cwd: folder }).then(
    ({ stdout }) => stdout,
    (error: { stdout: string }) => error.stdout,
  )
}

test('every object that the chart makes is one of Kubernetes, KEDA or the operator', async () => {
  const kinds = new Set(objects.map(({ kind }) => kind))
  expect([...kinds].sort()).toEqual([
    ...['ConfigMap', 'Deployment', 'Ingress', 'NetworkPolicy', 'PodDisruptionBudget', 'ScaledObject'],
    ...['Secret', 'Service', 'ServiceMonitor', 'StatefulSet', 'TriggerAuthentication'],
  ])
  for (const one of objects) await validate(one)
  // Shows that a misspelled member, and one of another type, would be found.
  const deployment = objects.find(({ kind }) => kind === 'Deployment')! as KubernetesObject & { spec: object }
  const spoil = (spec: object) => ({ ...deployment, spec: { ...deployment.spec, ...spec } })
  await expect(validate(spoil({ replicas: '2' }))).rejects.toThrow('replicas must be integer')
  const faults = await compile([...objects, spoil({ replica: 2 })])
  expect(faults.trim().split('\n')).toEqual([expect.stringMatching(/TS2353.*"replica"' does not exist/)])
})
