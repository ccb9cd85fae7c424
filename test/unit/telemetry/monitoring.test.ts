import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { z } from 'zod'
import { readMetricsTable } from '../../helpers/metrics.ts'

const root = new URL('../../../', import.meta.url)
const read = (path: string) => readFileSync(new URL(path, root), 'utf8')
const page = read('docs/metrics.md')
/** metrics.test.ts compares the table with the registry. */
const metrics = new Map(readMetricsTable(page).map((row) => [row.name, row]))

const rulesSchema = z.strictObject({
  groups: z.array(
    z.strictObject({
      name: z.string(),
      rules: z.array(
        z.strictObject({
          alert: z.string().regex(/^Sluice[A-Za-z0-9]+$/),
          expr: z.string(),
          for: z.string().regex(/^\d+[smh]$/),
          labels: z.strictObject({ severity: z.enum(['warning', 'critical']) }),
          annotations: z.strictObject({ summary: z.string(), description: z.string().optional() }),
        }),
      ),
    }),
  ),
})
const rules = rulesSchema.parse(parse(read('monitoring/alerts.yml'))).groups.flatMap((group) => group.rules)

const dashboardSchema = z.looseObject({
  templating: z.looseObject({
    list: z.array(z.looseObject({ name: z.string(), definition: z.string() })),
  }),
  panels: z.array(
    z.looseObject({
      id: z.number(),
      title: z.string(),
      targets: z.array(z.looseObject({ expr: z.string(), legendFormat: z.string() })).default([]),
    }),
  ),
})
const folder = 'monitoring/grafana/dashboards/'
const dashboards = readdirSync(new URL(folder, root)).map((name) =>
  dashboardSchema.parse(JSON.parse(read(folder + name))),
)

/** Added by Prometheus. */
const SCRAPED = ['job', 'instance']

type Selector = { name: string; labels: { label: string; operator: string; value: string }[] }

/** What an expression of Prometheus selects, and the labels that it groups by. */
function readExpression(expression: string): { selectors: Selector[]; groupedBy: string[] } {
  const groupedBy: string[] = []
  const rest = expression.replaceAll(
    /\s*\b(?:by|on|ignoring|without)\s*\(([^)]*)\)\s*/g,
    (_, labels: string) => {
      groupedBy.push(...labels.split(',').map((label) => label.trim()))
      return ''
    },
  )
  const selectors = [...rest.matchAll(/([a-zA-Z_:][\w:]*)\s*(?:\{([^}]*)\}|(?=[\s[)]|$))/g)]
    .filter(([, name]) => !['and', 'or', 'unless', 'vector'].includes(name!))
    .map(([, name, inner = '']) => ({
      name: name!,
      labels: [...inner.matchAll(/(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"/g)].map(([, label, operator, value]) => ({
        label: label!,
        operator: operator!,
        value: value!,
      })),
    }))
  return { selectors, groupedBy }
}

/** The faults of an expression. */
function findFaults(expression: string): string[] {
  const { selectors, groupedBy } = readExpression(expression)
  const faults: string[] = selectors.length === 0 ? ['selects nothing'] : []
  const known = new Set(SCRAPED)
  for (const { name, labels } of selectors) {
    const base = metrics.get(name) ?? metrics.get(name.replace(/_(?:bucket|sum|count)$/, ''))
    if (base === undefined || (base.name !== name && base.type !== 'histogram')) {
      faults.push(`there is no ${name}`)
      continue
    }
    if (base.type === 'histogram' && base.name === name) faults.push(`${name} is a histogram`)
    const own = new Set([...base.labels, ...SCRAPED, ...(name.endsWith('_bucket') ? ['le'] : [])])
    for (const label of own) known.add(label)
    for (const { label, operator, value } of labels) {
      if (!own.has(label)) faults.push(`${name} has no label ${label}`)
      // Words of ours, which the page lists: a misspelt one selects nothing, and nobody would notice.
      const isWord = operator === '=' && !SCRAPED.includes(label) && label !== 'quantile'
      if (isWord && !page.includes(`\`${value}\``)) faults.push(`${name} has no ${label} ${value}`)
    }
  }
  for (const label of groupedBy) if (!known.has(label)) faults.push(`nothing has the label ${label}`)
  if (/\b(?:rate|increase)\([^)]*\)/.test(expression)) {
    for (const [, name] of expression.matchAll(/\b(?:rate|increase)\((\w+)/g)) {
      if (metrics.get(name!)?.type === 'gauge') faults.push(`${name} is a gauge`)
    }
  }
  return faults
}

test('an expression with a misspelt metric, label or value is found', () => {
  expect(findFaults('rate(sluice_tokens_total{lane="a/b"}[5m])')).toEqual([
    'sluice_tokens_total has no lane a/b',
  ])
  expect(findFaults('rate(sluice_token_total[5m])')).toEqual(['there is no sluice_token_total'])
  expect(findFaults('sluice_lane_paused{model="x"}')).toContain('sluice_lane_paused has no label model')
  expect(findFaults('sum by (queue) (sluice_jobs)')).toEqual(['nothing has the label queue'])
  expect(findFaults('sluice_jobs_ended_total{status="fialed"}')).toHaveLength(1)
  expect(findFaults('rate(sluice_jobs{status="queued"}[5m])')).toContain('sluice_jobs is a gauge')
  expect(findFaults('max(sluice_job_wait_seconds)')).toEqual(['sluice_job_wait_seconds is a histogram'])
})

describe('monitoring/alerts.yml', () => {
  test.each(rules.map((rule) => [rule.alert, rule] as const))('%s uses metrics that exist', (_, rule) => {
    expect(findFaults(rule.expr)).toEqual([])
    const told = `${rule.annotations.summary} ${rule.annotations.description ?? ''}`
    const { groupedBy } = readExpression(rule.expr)
    for (const [, label] of told.matchAll(/\$labels\.(\w+)/g)) expect(groupedBy).toContain(label)
  })

  test('every rule has a name of its own', () => {
    expect(rules.length).toBeGreaterThan(10)
    expect(new Set(rules.map(({ alert }) => alert)).size).toBe(rules.length)
  })
})

describe('the dashboard', () => {
  const panels = dashboards.flatMap((dashboard) => dashboard.panels)
  const drawn = panels.filter(({ targets }) => targets.length > 0)
  const variables = dashboards.flatMap(({ templating }) => templating.list)

  test.each(drawn.map((panel) => [panel.title, panel] as const))(
    '%s shows metrics that exist',
    (_, panel) => {
      for (const { expr, legendFormat } of panel.targets) {
        expect(findFaults(expr), expr).toEqual([])
        for (const [, name] of expr.matchAll(/\$(\w+)/g))
          expect(variables.map((one) => one.name)).toContain(name)
        const { groupedBy, selectors } = readExpression(expr)
        const shown = groupedBy.length > 0 ? groupedBy : [...selectors.flatMap(listLabels), ...SCRAPED]
        for (const [, label] of legendFormat.matchAll(/\{\{(\w+)\}\}/g)) expect(shown, expr).toContain(label)
      }
    },
  )

  test('chooses lanes and tenants by what exists', () => {
    for (const { name, definition } of variables) {
      const [, metric, label] = /^label_values\((\w+), (\w+)\)$/.exec(definition) ?? []
      expect(label).toBe(name)
      expect(metrics.get(metric!)?.labels).toContain(label)
    }
  })

  test('has no two panels of one number, and leaves out little', () => {
    expect(drawn.length).toBeGreaterThan(25)
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length)
    const shown = new Set(
      drawn.flatMap(({ targets }) =>
        targets.flatMap(({ expr }) => readExpression(expr).selectors.map(({ name }) => name)),
      ),
    )
    const left = [...metrics.values()]
      .filter(({ name, type }) => !shown.has(name) && !(type === 'histogram' && shown.has(`${name}_bucket`)))
      .map(({ name }) => name)
      .filter((name) => name.startsWith('sluice_'))
    expect(left).toEqual([
      'sluice_webhook_attempt_duration_seconds',
      'sluice_info',
      'sluice_redis_command_failures_total',
    ])
  })
})

function listLabels({ name }: Selector): string[] {
  return metrics.get(name)?.labels ?? []
}

describe('the monitoring profile of docker-compose.yml', () => {
  const service = z.looseObject({
    image: z.string(),
    profiles: z.array(z.string()),
    ports: z.array(z.string()),
    volumes: z.array(z.string()),
    read_only: z.literal(true),
    cap_drop: z.array(z.string()),
    secrets: z.array(z.string()).default([]),
  })
  const compose = z
    .looseObject({
      services: z.looseObject({
        prometheus: service,
        grafana: service,
        worker: z.looseObject({ environment: z.record(z.string(), z.string()) }),
        api: z.looseObject({ environment: z.record(z.string(), z.string()) }),
      }),
      secrets: z.record(z.string(), z.object({ file: z.string() })),
    })
    .parse(parse(read('docker-compose.yml'), { merge: true }))
  const { prometheus, grafana, worker, api } = compose.services
  const scrapes = z
    .looseObject({
      rule_files: z.array(z.string()),
      scrape_configs: z.array(
        z.looseObject({
          job_name: z.string(),
          metrics_path: z.string(),
          authorization: z.object({ credentials_file: z.string() }).optional(),
          dns_sd_configs: z.array(z.looseObject({ names: z.array(z.string()), port: z.number() })),
        }),
      ),
    })
    .parse(parse(read('monitoring/prometheus.yml')))

  test('starts only when asked, by pinned versions, on this machine alone', () => {
    for (const { image, profiles, ports, cap_drop } of [prometheus, grafana]) {
      expect(profiles).toEqual(['monitoring'])
      expect(image).toMatch(/:v?\d+\.\d+\.\d+$/)
      expect(cap_drop).toEqual(['ALL'])
      for (const port of ports) expect(port).toMatch(/^127\.0\.0\.1:/)
    }
  })

  test('mounts files that exist, read-only, where they are looked for', () => {
    const mounts = [prometheus, grafana]
      .flatMap(({ volumes }) => volumes)
      .filter((one) => one.startsWith('./'))
    expect(mounts.length).toBe(4)
    for (const mount of mounts) {
      const [source, , mode] = mount.split(':')
      expect(existsSync(new URL(source!, root)), source).toBe(true)
      expect(mode).toBe('ro')
    }
    const targets = mounts.map((mount) => mount.split(':')[1]!)
    expect(targets).toEqual(expect.arrayContaining(scrapes.rule_files))
    const provider = parse(read('monitoring/grafana/provisioning/dashboards/sluice.yml')) as {
      providers: { options: { path: string } }[]
    }
    expect(targets).toContain(provider.providers[0]!.options.path)
    const sources = parse(read('monitoring/grafana/provisioning/datasources/prometheus.yml')) as {
      datasources: { uid: string; url: string }[]
    }
    expect(sources.datasources[0]).toMatchObject({ uid: 'prometheus', url: 'http://prometheus:9090' })
    expect(read(`${folder}sluice.json`).match(/"uid": "(?!sluice)[^"]+"/g)).toEqual(
      expect.arrayContaining(['"uid": "prometheus"']),
    )
  })

  test('scrapes every API process with the key from the secret, and every worker on the port that it has', () => {
    const [ofApi, ofWorker] = scrapes.scrape_configs
    const [secret] = prometheus.secrets
    expect(compose.secrets).toHaveProperty(secret!)
    expect(ofApi?.authorization?.credentials_file).toBe(`/run/secrets/${secret}`)
    expect(ofApi?.dns_sd_configs[0]).toMatchObject({ names: ['api'], port: Number(api.environment.PORT) })
    expect(ofWorker?.authorization).toBeUndefined()
    const port = Number(worker.environment.WORKER_PORT)
    expect(ofWorker?.dns_sd_configs[0]).toMatchObject({ names: ['worker'], port })
    expect(api.environment).not.toHaveProperty('WORKER_PORT')
    expect(read('.gitignore')).toContain('monitoring/admin-key\n')
  })
})
