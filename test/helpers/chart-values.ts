import { globSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parse } from 'yaml'

export const CHART = fileURLToPath(new URL('../../deploy/chart', import.meta.url))

type Values = Record<string, unknown>

const placement = {
  podAnnotations: { 'example.com/a': 'b' },
  nodeSelector: { 'kubernetes.io/arch': 'amd64' },
  tolerations: [{ key: 'a', operator: 'Exists', effect: 'NoSchedule' }],
  affinity: {
    podAntiAffinity: {
      preferredDuringSchedulingIgnoredDuringExecution: [
        { weight: 1, podAffinityTerm: { topologyKey: 'zone', labelSelector: { matchLabels: { a: 'b' } } } },
      ],
    },
  },
  topologySpreadConstraints: [{ maxSkew: 1, topologyKey: 'zone', whenUnsatisfiable: 'ScheduleAnyway' }],
}
/** A value for each member that the examples leave out. */
const everything = {
  pullSecrets: [{ name: 'registry' }],
  env: [{ name: 'HTTPS_PROXY', value: 'http://proxy:3128' }],
  api: placement,
  worker: { ...placement, spool: { className: 'fast' } },
  service: { type: 'LoadBalancer', annotations: { 'example.com/a': 'b' } },
  serviceMonitor: { enabled: true, labels: { release: 'prometheus' } },
  networkPolicy: { enabled: true, apiFrom: [{ ipBlock: { cidr: '10.0.0.0/8' } }] },
  redis: { storage: { className: 'fast' } },
  postgresql: { storage: { className: 'fast' } },
}

/** The chart's examples, each as it is and with everything else that the chart has. */
export function listChartValues(): { name: string; values: Values }[] {
  return globSync('examples/*.yaml', { cwd: CHART }).flatMap((path) => {
    const name = basename(path, '.yaml')
    const values = parse(readFileSync(join(CHART, path), 'utf8')) as Values
    const merged: Values = { ...values }
    for (const [key, value] of Object.entries(everything))
      merged[key] = Array.isArray(value) ? value : { ...value, ...(values[key] as Values | undefined) }
    return [
      { name, values },
      { name: `${name} with everything`, values: merged },
    ]
  })
}
