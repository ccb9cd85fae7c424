import { globSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { parse, parseAllDocuments } from 'yaml'
import { z } from 'zod'
import { loadConfig } from '../../../config/load.ts'

const root = fileURLToPath(new URL('../../..', import.meta.url))
const read = (name: string) => readFileSync(`${root}/${name}`, 'utf8')
const folder = 'examples/kubernetes'

const probe = z.object({ httpGet: z.object({ path: z.string(), port: z.union([z.string(), z.number()]) }) })
const variable = z.object({ name: z.string(), value: z.string() })
const workloadSchema = z.object({
  kind: z.enum(['Deployment', 'StatefulSet']),
  metadata: z.object({ name: z.string() }),
  spec: z.object({
    selector: z.object({ matchLabels: z.record(z.string(), z.string()) }),
    template: z.object({
      metadata: z.object({ labels: z.record(z.string(), z.string()) }),
      spec: z.object({
        terminationGracePeriodSeconds: z.number(),
        containers: z.tuple([
          z.object({
            image: z.string(),
            command: z.array(z.string()),
            env: z.array(variable),
            ports: z.array(z.object({ name: z.string(), containerPort: z.number() })),
            readinessProbe: probe,
            livenessProbe: probe,
            volumeMounts: z.array(z.object({ name: z.string(), mountPath: z.string() })),
          }),
        ]),
      }),
    }),
  }),
})

type Document = { kind: string; metadata: { name: string } } & Record<string, unknown>
const documents = globSync(`${folder}/{config,api,worker,keda}.yaml`, { cwd: root }).flatMap((path) =>
  parseAllDocuments(read(path)).map((document): Document => {
    expect(document.errors, path).toEqual([])
    return document.toJS()
  }),
)
const find = (kind: string, name: string) =>
  documents.find((one) => one.kind === kind && one.metadata.name === name)

const dockerfile = read('Dockerfile')
const workloads = [
  ['api', workloadSchema.parse(find('Deployment', 'sluice-api'))],
  ['worker', workloadSchema.parse(find('StatefulSet', 'sluice-worker'))],
] as const

const configMap = z.object({ data: z.object({ 'sluice.yaml': z.string() }) })
const values = z
  .object({
    controllers: z.record(
      z.string(),
      z.object({ containers: z.object({ main: z.object({ command: z.array(z.string()) }) }) }),
    ),
    configMaps: z.object({ sluice: configMap }),
  })
  .parse(parse(read(`${folder}/values.yaml`)))

const secrets = { OPENAI_API_KEY: 'sk-1', ACME_KEY: 'acme-key-0123456789', OPS_KEY: 'ops-key-0123456789' }
/** As a container of the image has it. */
const load = (text: string) =>
  loadConfig({
    path: 'sluice.yaml',
    text,
    env: { ...secrets, HOST: '0.0.0.0', REDIS_URL: 'redis://redis:6379' },
  })

describe.each(workloads)('the manifest of the role %s', (role, { spec }) => {
  const [container] = spec.template.spec.containers
  const mounts = container.volumeMounts.map(({ mountPath }) => mountPath)

  test('runs that role, and finds its own pods', () => {
    expect(container.command).toEqual(['node', 'node_modules/sluice/main.js', role])
    expect(spec.template.metadata.labels).toEqual(spec.selector.matchLabels)
  })

  test('mounts the folder in which the image looks for its configuration', () => {
    const path = /SLUICE_CONFIG=(\S+)/.exec(dockerfile)?.[1]
    expect(mounts.map((mount) => `${mount}/sluice.yaml`)).toContain(path)
  })

  test('is asked for its health where it listens, and has the time to drain', () => {
    const [{ name, containerPort }] = container.ports as [{ name: string; containerPort: number }]
    const own = container.env.find((one) => one.name === 'WORKER_PORT')?.value
    expect(containerPort).toBe(role === 'api' ? Number(/ PORT=(\d+)/.exec(dockerfile)?.[1]) : Number(own))
    expect(container.readinessProbe.httpGet).toEqual({ path: '/readyz', port: name })
    expect(container.livenessProbe.httpGet).toEqual({ path: '/healthz', port: name })
    expect(spec.template.spec.terminationGracePeriodSeconds).toBeGreaterThan(30)
  })
})

test('a worker keeps its spool over restarts', () => {
  expect(dockerfile).toContain('VOLUME /app/.sluice')
  const worker = z
    .object({
      spec: z.object({
        volumeClaimTemplates: z.array(z.object({ metadata: z.object({ name: z.string() }) })),
      }),
    })
    .parse(find('StatefulSet', 'sluice-worker'))
  const kept = worker.spec.volumeClaimTemplates.map(({ metadata }) => metadata.name)
  const mounts = workloads[1][1].spec.template.spec.containers[0].volumeMounts
  expect(mounts.find(({ mountPath }) => mountPath === '/app/.sluice')?.name).toBe(kept[0])
})

test('the service leads to the API', () => {
  const service = z
    .object({ spec: z.object({ selector: z.unknown(), ports: z.array(z.object({ port: z.number() })) }) })
    .parse(find('Service', 'sluice'))
  expect(service.spec.selector).toEqual(workloads[0][1].spec.selector.matchLabels)
  expect(service.spec.ports.map(({ port }) => port)).toEqual([8080])
})

test('the configuration loads, and the values for Helm have the same, and the same roles', () => {
  const text = configMap.parse(find('ConfigMap', 'sluice')).data['sluice.yaml']
  expect(Object.keys(load(text).tenants)).toEqual(['acme', 'ops'])
  expect(values.configMaps.sluice.data['sluice.yaml']).toBe(text)
  const roles = Object.entries(values.controllers).map(([name, { containers }]) => [
    name,
    containers.main.command,
  ])
  expect(roles).toEqual(workloads.map(([role, { spec }]) => [role, spec.template.spec.containers[0].command]))
})

test('KEDA scales the workers, by a lane that is configured, with the key of an administrator', () => {
  const scaled = z
    .object({
      spec: z.object({
        scaleTargetRef: z.object({ kind: z.string(), name: z.string() }),
        triggers: z.array(z.object({ type: z.string(), metadata: z.record(z.string(), z.string()) })),
      }),
    })
    .parse(find('ScaledObject', 'sluice-worker')).spec
  expect(find(scaled.scaleTargetRef.kind, scaled.scaleTargetRef.name)).toBeDefined()
  const { url = '', valueLocation } =
    scaled.triggers.find(({ type }) => type === 'metrics-api')?.metadata ?? {}
  const { pathname, host } = new URL(url)
  const config = load(values.configMaps.sluice.data['sluice.yaml'])
  const [, provider = '', model = ''] = /^\/v1\/lanes\/([^/]+)\/(.+)$/.exec(pathname) ?? []
  expect(config.providers[provider]?.models).toHaveProperty([model])
  expect([host, valueLocation]).toEqual(['sluice:8080', 'backlog.waiting'])
  const authentication = JSON.stringify(find('TriggerAuthentication', 'sluice'))
  expect(authentication).toContain('"key":"OPS_KEY"')
  expect(config.tenants.ops?.admin).toBe(true)
})

test('the unit of systemd starts a role with the configuration, and does not start a faulty one again', () => {
  const unit = read('examples/systemd/sluice@.service')
  expect(unit).toMatch(/^ExecStart=\S+\/node \S+\/main\.ts %i$/m)
  expect(unit).toContain('SLUICE_CONFIG=/etc/sluice/sluice.yaml')
  expect(unit).toMatch(/^RestartPreventExitStatus=78$/m)
  expect(Number(/^TimeoutStopSec=(\d+)$/m.exec(unit)?.[1])).toBeGreaterThan(30)
})
