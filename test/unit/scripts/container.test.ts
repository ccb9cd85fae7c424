import { existsSync, readFileSync } from 'node:fs'
import { posix } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { z } from 'zod'
import { loadConfig } from '../../../config/load.ts'
import { readImports } from '../../../scripts/check-imports.ts'
import { FILES } from '../../../scripts/package/build.ts'

const root = fileURLToPath(new URL('../../..', import.meta.url))
const read = (name: string) => readFileSync(`${root}/${name}`, 'utf8')

const composeSchema = z.object({
  services: z.record(
    z.string(),
    z.object({
      command: z.array(z.string()).default([]),
      build: z.string().optional(),
      environment: z.record(z.string(), z.string()).default({}),
      volumes: z.array(z.union([z.string(), z.object({ source: z.string(), target: z.string() })])),
      depends_on: z.record(z.string(), z.unknown()).default({}),
      profiles: z.array(z.string()).default([]),
      read_only: z.boolean().default(false),
      cap_drop: z.array(z.string()).default([]),
      security_opt: z.array(z.string()).default([]),
    }),
  ),
  volumes: z.record(z.string(), z.unknown()),
})
const compose = composeSchema.parse(parse(read('docker-compose.yml'), { merge: true }))
const ours = Object.entries(compose.services).filter(([, service]) => service.build !== undefined)
const allowed = read('.dockerignore')
  .split('\n')
  .filter((line) => line.startsWith('!'))
  .map((line) => line.slice(1))
const exampleConfig = 'examples/docker-simulator.yaml'

describe('docker-compose.yml', () => {
  test('runs the roles that main.ts has', () => {
    expect(ours.map(([name, { command }]) => [name, command.slice(0, 3).join(' ')])).toEqual([
      ['api', 'node node_modules/sluice/main.js api'],
      ['worker', 'node node_modules/sluice/main.js worker'],
      ['simulator', 'node node_modules/sluice/main.js simulator'],
    ])
  })

  test('starts the simulator only when asked', () => {
    const always = Object.entries(compose.services).filter(([, { profiles }]) => profiles.length === 0)
    expect(always.map(([name]) => name)).toEqual(['redis', 'api', 'worker'])
  })

  test('gives every service the configuration at its path', () => {
    for (const [, { environment, volumes }] of ours) {
      const mounted = volumes.map((volume) => (typeof volume === 'string' ? volume : volume.target))
      expect(mounted).toContain(environment.SLUICE_CONFIG)
    }
  })

  test('keeps what Redis and the workers hold, and has Redis refuse rather than evict', () => {
    const redis = compose.services.redis
    const command = redis?.command.join(' ')
    expect(command).toContain('--appendonly yes')
    expect(command).toContain('--maxmemory-policy noeviction')
    expect(redis?.volumes).toEqual(['redis-data:/data'])
    expect(compose.services.worker?.volumes).toContain('worker-data:/app/.sluice')
    expect(Object.keys(compose.volumes)).toEqual([
      'redis-data',
      'postgres-data',
      'worker-data',
      'prometheus-data',
    ])
  })

  test('takes from every service of ours what it does not need', () => {
    for (const [, { read_only, cap_drop, security_opt }] of ours) {
      expect({ read_only, cap_drop, security_opt }).toEqual({
        read_only: true,
        cap_drop: ['ALL'],
        security_opt: ['no-new-privileges:true'],
      })
    }
  })

  test('names files that exist', () => {
    for (const [file] of read('docker-compose.yml').matchAll(/\.\/examples\/[\w.-]+/g)) {
      expect(existsSync(`${root}/${file}`), file).toBe(true)
    }
    expect(read('docker-compose.yml')).toContain(`./${exampleConfig}`)
  })
})

test('the configuration for trying it out is valid and leads to the services of docker-compose.yml', () => {
  const environment = ours.find(([name]) => name === 'api')?.[1].environment ?? {}
  const config = loadConfig({ path: `${root}/${exampleConfig}`, env: environment })
  const { host, port } = config.server
  expect({ host, port }).toEqual({ host: '0.0.0.0', port: 8080 })
  expect(compose.services).toHaveProperty(new URL(config.redis.url ?? '').hostname)
  const upstream = new URL(Object.values(config.providers)[0]?.base_url ?? '')
  expect(compose.services).toHaveProperty(upstream.hostname)
  expect(compose.services[upstream.hostname]?.command).toContain(upstream.port)
})

describe('the image', () => {
  const program = followImports('main.ts')

  test('holds every file that main.ts imports, directly or not', () => {
    const outside = program.files.filter((path) => !allowed.includes(path.split('/')[0] ?? ''))
    expect(outside).toEqual([])
  })

  test('runs the role `all` unless told otherwise, and not as root', () => {
    const lines = read('Dockerfile').split('\n')
    expect(lines).toContain('CMD ["node", "node_modules/sluice/main.js", "all"]')
    expect(lines).toContain('USER node')
  })

  test('has no shell, and nothing that would need one', () => {
    const dockerfile = read('Dockerfile')
    const removed = dockerfile.match(/^RUN rm -rf (\/usr(?:.*\\\n)*.*)$/m)?.[1]?.split(/[\s\\]+/) ?? []
    expect(removed).toEqual(expect.arrayContaining(['/bin/sh', '/bin/dash', '/bin/bash']))
    // After that point the last stage uses exec form, or runs nothing.
    const [, after = ''] = dockerfile.split('/bin/bash /bin/dash /bin/sh\n')
    expect(after).not.toMatch(/^\s*(?:RUN|CMD|ENTRYPOINT) (?!\[)/m)
    expect(after).toContain('ENTRYPOINT []')
    for (const [, { command }] of ours) expect(command[0]).toBe('node')
  })

  test('has nothing but the installed npm package', () => {
    const [, last = ''] = read('Dockerfile').split(/^FROM node:24-slim$/m)
    expect(last.match(/^COPY .*/gm)).toEqual(['COPY --from=package /installed/node_modules ./node_modules'])
    expect(read('.dockerignore').trim().split('\n').at(-1)).toBe('dashboard/dist')
  })

  test('can pack the package from what .dockerignore lets through', () => {
    const files = ['scripts/package.ts', ...FILES, ...followImports('scripts/package.ts').files]
    const outside = files.filter((path) => !allowed.includes(path.split('/')[0] ?? ''))
    expect(outside).toEqual([])
  })

  test('names no module as TypeScript at run time, and has those that it names compiled', () => {
    const named = program.files.flatMap((path) =>
      [
        ...read(path).matchAll(
          /new URL\([`']\.\/([\w-]+)(\.ts|\$\{extname\(import\.meta\.filename\)\})[`']/g,
        ),
      ].map(([, name, ending]) => ({ path: posix.join(posix.dirname(path), `${name}.ts`), ending })),
    )
    expect(named.filter(({ ending }) => ending === '.ts')).toEqual([])
    const { files } = JSON.parse(read('scripts/package/tsconfig.json')) as { files: string[] }
    const compiled = files.map((path) => posix.join('scripts/package', path))
    expect(named.map(({ path }) => path).filter((path) => !compiled.includes(path))).toEqual([])
    expect(named.length).toBeGreaterThan(2)
  })

  test('needs no package for development', () => {
    const dependencies = z
      .object({ dependencies: z.record(z.string(), z.string()) })
      .parse(JSON.parse(read('package.json'))).dependencies
    const outside = program.packages.filter((name) => !(readPackage(name) in dependencies))
    expect(outside).toEqual([])
  })
})

/** The files that a file imports, directly or not, with itself, and the packages that they name. */
function followImports(start: string): { files: string[]; packages: string[] } {
  const files = new Set<string>()
  const packages = new Set<string>()
  const follow = (path: string) => {
    if (files.has(path)) return
    files.add(path)
    for (const name of readImports(path, read(path))) {
      if (name.startsWith('.')) follow(posix.join(posix.dirname(path), name))
      else if (!name.startsWith('node:')) packages.add(name)
    }
  }
  follow(start)
  return { files: [...files], packages: [...packages] }
}

/** `@scope/name/part` belongs to the package `@scope/name`. */
function readPackage(name: string): string {
  return name
    .split('/')
    .slice(0, name.startsWith('@') ? 2 : 1)
    .join('/')
}
