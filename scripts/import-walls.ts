import { posix } from 'node:path'

/** One source file, by its path from the root, and what it imports, as written. */
export type Module = { path: string; imports: string[] }

const SHARED = ['config', 'lib']
const MIDDLE = [
  'jobs',
  'ratelimit',
  'providers',
  'webhooks',
  'files',
  'batches',
  'provider-batches',
  'durable',
  'events',
  'schedules',
  'flows',
  'tenants',
  'history',
  ...SHARED,
]
const HOUSE = [
  'simulator',
  'embedded-redis',
  'services',
  'tryout',
  'api',
  'workers',
  'cli',
  'dashboard',
  'telemetry',
  ...MIDDLE,
]

/** What each part of the product may import besides itself. docs/architecture.md draws it. */
const WALLS: Record<string, readonly string[]> = {
  main: HOUSE,
  services: ['api', 'workers', 'dashboard', 'telemetry', ...MIDDLE],
  tryout: ['providers', 'simulator', ...SHARED],
  api: MIDDLE,
  workers: MIDDLE,
  jobs: SHARED,
  ratelimit: SHARED,
  providers: SHARED,
  webhooks: ['jobs', ...SHARED],
  files: SHARED,
  events: SHARED,
  batches: ['jobs', 'files', ...SHARED],
  'provider-batches': ['jobs', 'providers', ...SHARED],
  durable: SHARED,
  schedules: SHARED,
  tenants: SHARED,
  flows: ['jobs', ...SHARED],
  history: ['jobs', ...SHARED],
  // A provider to run locally.
  simulator: ['providers', ...SHARED],
  'embedded-redis': ['lib'],
  // How batches are written and what calls cost; never the store.
  cli: ['client', 'batches', 'providers', ...SHARED],
  // It runs in browsers, and knows the product only by the answers of the API.
  dashboard: ['client'],
  // Counts and traces. A part that has something to report gets a function.
  telemetry: ['jobs', 'providers', 'webhooks', ...SHARED],
  config: ['lib'],
  lib: [],
  // Around the product. Applications install the client, which knows nothing of the product.
  client: [],
  examples: ['client', 'webhooks'],
  scripts: ['client', ...HOUSE],
  bench: HOUSE,
  test: ['main', 'scripts', 'bench', 'examples', 'client', ...HOUSE],
  'vitest.config': ['test'],
}

/** Packages that one file hides from the rest of the product. */
const HIDDEN_PACKAGES: Record<string, string> = {
  bullmq: 'jobs/lane-queue.ts',
  croner: 'lib/cron.ts',
  pg: 'history/database.ts',
}
const OUTSIDE = ['bench', 'test']

/** All packages that a browser loads, and those that build the page. */
const DASHBOARD_PACKAGES = ['preact', '@preact/signals', 'uplot', 'vite']

/** Every import through a wall and every circle, as readable lines; empty: all is well. */
export function findImportFaults(modules: Module[]): string[] {
  return [...modules.flatMap(findWallFaults), ...findCircles(modules)]
}

function findWallFaults({ path, imports }: Module): string[] {
  const part = readPart(path)
  const allowed = WALLS[part]
  if (allowed === undefined)
    return [`${path}: ${part} has no place in the house; see scripts/import-walls.ts`]
  return imports.flatMap((name) => {
    const target = resolveImport(path, name)
    if (target === null) return findPackageFaults(path, part, name)
    const other = readPart(target)
    return other === part || allowed.includes(other) ? [] : [`${path}: ${part} may not import ${target}`]
  })
}

function findPackageFaults(path: string, part: string, name: string): string[] {
  const isPlanned = DASHBOARD_PACKAGES.some((known) => name === known || name.startsWith(`${known}/`))
  if (part === 'dashboard' && !isPlanned) return [`${path}: dashboard may not import ${name}`]
  const owner = HIDDEN_PACKAGES[name]
  if (owner === undefined || owner === path || OUTSIDE.includes(part)) return []
  return [`${path}: only ${owner} may import ${name}`]
}

/** Every circle once, type-only imports included: two files that need each other's types are one file or three. */
function findCircles(modules: Module[]): string[] {
  const targets = new Map(
    modules.map(({ path, imports }) => [
      path,
      imports.map((name) => resolveImport(path, name)).filter((target) => target !== null),
    ]),
  )
  const finished = new Set<string>()
  const circles: string[] = []
  const visit = (path: string, way: string[]) => {
    const start = way.indexOf(path)
    if (start >= 0) circles.push(`circle: ${[...way.slice(start), path].join(' → ')}`)
    if (start >= 0 || finished.has(path)) return
    for (const target of targets.get(path) ?? []) visit(target, [...way, path])
    finished.add(path)
  }
  for (const path of targets.keys()) visit(path, [])
  return circles
}

/** The path from the root that a relative import means; null for packages and Node's own modules. */
function resolveImport(from: string, name: string): string | null {
  return name.startsWith('.') ? posix.join(posix.dirname(from), name) : null
}

/** The folder at the root, or the name of a file there without its ending. */
function readPart(path: string): string {
  const [first = '', ...rest] = path.split('/')
  return rest.length > 0 ? first : first.replace(/\.\w+$/, '')
}
