import { globSync, readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Validator } from '@cfworker/json-schema'
import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { z } from 'zod'
import { loadConfig } from '../../../config/load.ts'
import { type KubernetesObject, readChartData, readObjects, renderChart } from '../../helpers/helm-chart.ts'

const root = fileURLToPath(new URL('../../..', import.meta.url))
const chart = `${root}/deploy/chart`
const dockerfile = readFileSync(`${root}/Dockerfile`, 'utf8')
const examples = Object.fromEntries(
  globSync('examples/*.yaml', { cwd: chart }).map((path) => [
    basename(path, '.yaml'),
    parse(readFileSync(`${chart}/${path}`, 'utf8')) as Record<string, unknown>,
  ]),
)
const schema = new Validator(JSON.parse(readFileSync(`${chart}/values.schema.json`, 'utf8')), '7')

/** The smallest values with which it installs. */
const least = { redis: { url: 'redis://redis:6379' }, config: { providers: { openai: { kind: 'openai' } } } }
const render = (values: object, name?: string) =>
  readObjects(renderChart(chart, readChartData(chart, { ...least, ...values }, name)))
const find = (objects: KubernetesObject[], kind: string, name: string) => {
  const found = objects.find((one) => one.kind === kind && one.metadata.name === name)
  if (found === undefined) throw new Error(`no ${kind} ${name}`)
  return found
}

const probe = z.object({ httpGet: z.object({ path: z.string(), port: z.string() }) })
const labels = z.record(z.string(), z.string())
const workload = z.object({
  spec: z.object({
    replicas: z.number().optional(),
    selector: z.object({ matchLabels: labels }),
    template: z.object({
      metadata: z.object({ labels }),
      spec: z.object({
        terminationGracePeriodSeconds: z.number(),
        containers: z.tuple([
          z.object({
            image: z.string(),
            command: z.array(z.string()),
            env: z.array(z.object({ name: z.string(), value: z.string().optional() })),
            envFrom: z.array(z.object({ secretRef: z.object({ name: z.string() }) })).optional(),
            ports: z.array(z.object({ name: z.string(), containerPort: z.number() })),
            readinessProbe: probe,
            livenessProbe: probe,
            volumeMounts: z.array(z.object({ name: z.string(), mountPath: z.string() })),
          }),
        ]),
      }),
    }),
    volumeClaimTemplates: z.array(z.object({ metadata: z.object({ name: z.string() }) })).optional(),
  }),
})
const service = z.object({
  spec: z.object({ selector: labels, ports: z.array(z.object({ name: z.string(), port: z.number() })) }),
})
const roles = [
  ['api', 'Deployment'],
  ['worker', 'StatefulSet'],
] as const
const readWorkload = (objects: KubernetesObject[], role: string, kind: string) =>
  workload.parse(find(objects, kind, `sluice-${role}`)).spec
const readConfig = (objects: KubernetesObject[]) =>
  z.object({ data: z.object({ 'sluice.yaml': z.string() }) }).parse(find(objects, 'ConfigMap', 'sluice'))
    .data['sluice.yaml']

/** Variables of a Secret, any value long enough for a key. */
const variables = (text: string) =>
  Object.fromEntries([...text.matchAll(/\$\{(\w+)\}/g)].map(([, name]) => [name!, `${name}-0123456789`]))
/** As a container of the image has it. */
const load = (text: string) =>
  loadConfig({
    path: 'sluice.yaml',
    text,
    env: { ...variables(text), HOST: '0.0.0.0', REDIS_URL: 'redis://redis:6379' },
  })

describe.each(roles)('the pods of the role %s', (role, kind) => {
  const { selector, template } = readWorkload(render({}), role, kind)
  const [container] = template.spec.containers

  test('run that role of the image, and are found by what selects them', () => {
    expect(container.command).toEqual(['node', 'node_modules/sluice/main.js', role])
    expect(template.metadata.labels).toMatchObject(selector.matchLabels)
    expect(container.image).toBe('sluice:0.1.0')
  })

  test('mount the folder in which the image looks for its configuration', () => {
    const path = /SLUICE_CONFIG=(\S+)/.exec(dockerfile)?.[1]
    const mounts = container.volumeMounts.map(({ mountPath }) => mountPath)
    expect(mounts.map((mount) => `${mount}/sluice.yaml`)).toContain(path)
  })

  test('have health checks on their port, and the time to drain', () => {
    const [{ name, containerPort }] = container.ports as [{ name: string; containerPort: number }]
    const own = container.env.find((one) => one.name === 'WORKER_PORT')?.value
    expect(containerPort).toBe(role === 'api' ? Number(/ PORT=(\d+)/.exec(dockerfile)?.[1]) : Number(own))
    expect(container.readinessProbe.httpGet).toEqual({ path: '/readyz', port: name })
    expect(container.livenessProbe.httpGet).toEqual({ path: '/healthz', port: name })
    expect(template.spec.terminationGracePeriodSeconds).toBeGreaterThan(30)
  })
})

test('a worker keeps its spool over restarts', () => {
  expect(dockerfile).toContain('VOLUME /app/.sluice')
  const { template, volumeClaimTemplates } = readWorkload(render({}), 'worker', 'StatefulSet')
  const mounts = template.spec.containers[0].volumeMounts
  const kept = volumeClaimTemplates!.map(({ metadata }) => metadata.name)
  expect(mounts.find(({ mountPath }) => mountPath === '/app/.sluice')?.name).toBe(kept[0])
})

test('services and disruption budgets lead to the pods of their role', () => {
  const objects = render({})
  for (const [role, kind] of roles) {
    const { matchLabels } = readWorkload(objects, role, kind).selector
    const name = role === 'api' ? 'sluice' : 'sluice-worker'
    expect(service.parse(find(objects, 'Service', name)).spec.selector).toEqual(matchLabels)
    const budget = z.object({ spec: z.object({ selector: z.object({ matchLabels: labels }) }) })
    const found = budget.parse(find(objects, 'PodDisruptionBudget', `sluice-${role}`))
    expect(found.spec.selector.matchLabels).toEqual(matchLabels)
  }
  const none = render({ api: { minAvailable: null }, worker: { minAvailable: null } })
  expect(none.filter(({ kind }) => kind === 'PodDisruptionBudget')).toEqual([])
})

test.for(Object.keys(examples))(
  'the values of examples/%s.yaml install a configuration that loads',
  (name, { expect }) => {
    const values = examples[name]!
    expect(schema.validate(readChartData(chart, values).Values)).toMatchObject({ valid: true, errors: [] })
    const config = load(readConfig(render(values)))
    expect(config.redis.url).toBe('redis://redis:6379')
    expect(config.tenants.ops?.admin).toBe(true)
  },
)

test('the defaults are what the schema allows, and it names what is misspelled', () => {
  expect(schema.validate(readChartData(chart, least).Values)).toMatchObject({ valid: true, errors: [] })
  for (const wrong of [
    { replicas: 3 },
    { api: { replica: 3 } },
    { keda: { lanes: [{ lane: 'gpt-5-mini', waiting: 1 }] } },
    { secret: { values: { 'OPS-KEY': 'a' } } },
  ])
    expect(
      schema.validate(readChartData(chart, { ...least, ...wrong }).Values).valid,
      JSON.stringify(wrong),
    ).toBe(false)
})

test('what the chart needs is named when it is missing', () => {
  const withoutRedis = { redis: { url: '' } }
  expect(() => render(withoutRedis)).toThrow('redis.url: name your Redis')
  expect(() => render({ config: {} })).toThrow('config.providers: name at least one provider')
  expect(() => render({ ingress: { enabled: true } })).toThrow('ingress.hosts')
})

test('KEDA decides about the number of workers, by a lane that is configured, with the key of an administrator', () => {
  const objects = render(examples.production!)
  expect(readWorkload(objects, 'worker', 'StatefulSet').replicas).toBeUndefined()
  const { spec } = z
    .object({
      spec: z.object({
        scaleTargetRef: z.object({ kind: z.string(), name: z.string() }),
        triggers: z.array(z.object({ type: z.string(), metadata: labels })),
      }),
    })
    .parse(find(objects, 'ScaledObject', 'sluice-worker'))
  find(objects, spec.scaleTargetRef.kind, spec.scaleTargetRef.name)
  const { url = '', valueLocation } = spec.triggers.find(({ type }) => type === 'metrics-api')!.metadata
  const { pathname, host } = new URL(url)
  const config = load(readConfig(objects))
  const [, provider = '', model = ''] = /^\/v1\/lanes\/([^/]+)\/(.+)$/.exec(pathname) ?? []
  expect(config.providers[provider]?.models).toHaveProperty([model])
  expect([host, valueLocation]).toEqual(['sluice.default:8080', 'backlog.waiting'])
  expect(JSON.stringify(find(objects, 'TriggerAuthentication', 'sluice'))).toContain('"key":"OPS_KEY"')
})

test("Prometheus' operator reads the metrics of both roles, the API's with a key", () => {
  const objects = render(examples.production!)
  const monitor = z.object({
    spec: z.object({
      selector: z.object({ matchLabels: labels }),
      endpoints: z.array(
        z.object({ port: z.string(), path: z.string(), authorization: z.unknown().optional() }),
      ),
    }),
  })
  for (const [role, name] of [
    ['api', 'sluice'],
    ['worker', 'sluice-worker'],
  ] as const) {
    const { selector, endpoints } = monitor.parse(find(objects, 'ServiceMonitor', `sluice-${role}`)).spec
    const target = find(objects, 'Service', name)
    expect(target.metadata.labels).toMatchObject(selector.matchLabels)
    const [endpoint] = endpoints
    expect(service.parse(target).spec.ports.map((port) => port.name)).toContain(endpoint!.port)
    expect(endpoint!.authorization !== undefined).toBe(role === 'api')
  }
})

test('a Redis and a PostgreSQL of the chart are where the processes look for them, and no other pod gets in', () => {
  const objects = render({ ...examples['all-in-one']!, networkPolicy: { enabled: true } }, 'try')
  const names = objects.map(({ kind, metadata }) => `${kind} ${metadata.name}`)
  expect(names).toEqual(expect.arrayContaining(['Service try-sluice-redis', 'Service try-sluice-postgresql']))
  expect(names).toEqual(
    expect.arrayContaining(['NetworkPolicy try-sluice-redis', 'NetworkPolicy try-sluice-postgresql']),
  )
  const { env } = workload.parse(find(objects, 'Deployment', 'try-sluice-api')).spec.template.spec
    .containers[0]
  const url = env.find(({ name }) => name === 'REDIS_URL')?.value
  expect(url).toBe('redis://:$(REDIS_PASSWORD)@try-sluice-redis:6379')
  // Kubernetes expands variables that are defined before.
  expect(env.map(({ name }) => name).slice(0, 2)).toEqual(['REDIS_PASSWORD', 'REDIS_URL'])
  const text = z
    .object({ data: z.record(z.string(), z.string()) })
    .parse(find(objects, 'ConfigMap', 'try-sluice'))
  expect(load(text.data['sluice.yaml']!).history).toMatchObject({
    url: 'postgres://sluice:HISTORY_PASSWORD-0123456789@try-sluice-postgresql/sluice',
  })
  const secret = z.object({ stringData: z.record(z.string(), z.string()) })
  expect(Object.keys(secret.parse(find(objects, 'Secret', 'try-sluice')).stringData)).toContain('OPS_KEY')
})

test("the chart's Redis is full long before its container is", () => {
  const statefulSet = z.object({
    spec: z.object({
      template: z.object({
        spec: z.object({
          containers: z.tuple([
            z.object({
              args: z.array(z.string()),
              resources: z.object({ limits: z.object({ memory: z.string() }) }),
            }),
          ]),
        }),
      }),
    }),
  })
  const read = (redis: object) =>
    statefulSet.parse(find(render({ redis: { enabled: true, ...redis } }), 'StatefulSet', 'sluice-redis'))
      .spec.template.spec.containers[0]
  const { args, resources } = read({})
  const most = args[args.indexOf('--maxmemory') + 1]
  const [, megabytes] = /^(\d+)mb$/.exec(most ?? '') ?? []
  const [, gibibytes] = /^(\d+)Gi$/.exec(resources.limits.memory) ?? []
  expect(Number(megabytes)).toBeLessThanOrEqual((Number(gibibytes) * 1024) / 2)
  expect(read({ maxmemory: '3gb' }).args).toContain('3gb')
  expect(() => read({ maxmemory: '' })).toThrow('redis.maxmemory')
  for (const maxmemory of ['0', '512Mi', '', 512]) {
    const { Values } = readChartData(chart, { ...least, redis: { ...least.redis, maxmemory } })
    expect(schema.validate(Values).valid, String(maxmemory)).toBe(false)
  }
})

test('your own Redis Cluster is in the configuration, and no URL beside it', () => {
  const cluster = { nodes: ['redis://redis-0:6379'] }
  const objects = render({ redis: { url: '' }, config: { ...least.config, redis: { cluster } } })
  expect(parse(readConfig(objects))).toMatchObject({ redis: { cluster } })
  expect(readConfig(objects)).not.toContain('REDIS_URL')
})

test('its version is that of the package', () => {
  const { version } = JSON.parse(readFileSync(`${root}/package.json`, 'utf8'))
  expect(parse(readFileSync(`${chart}/Chart.yaml`, 'utf8'))).toMatchObject({ version, appVersion: version })
})
