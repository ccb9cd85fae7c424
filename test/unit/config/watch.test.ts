import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { ConfigError } from '../../../config/load.ts'
import type { Config } from '../../../config/schema.ts'
import { createLiveConfig, watchConfig } from '../../../config/watch.ts'
import { load, smallest } from './load-fixture.ts'

type Report = { config: Config } | { fault: unknown }

const withTtl = (ttl: string): string => `${smallest}cache: { ttl: ${ttl} }\n`

/** Sections that need a restart as a whole; of the others, some members may. */
const RESTART = new Set(['server', 'redis', 'worker', 'network', 'tracing'])

const read = (config: Config, section: string): unknown => config[section as keyof Config]

/** Has a value of its own in every section that may change while a process runs. */
const everyMember = `
providers:
  other: { kind: openai, api_key: another-key, limits: { requests_per_minute: 7 }, models: { m: { price: { input: 3 } } } }
routes: { fast: [other/m] }
tenants: { acme: { keys: [key-of-enough-length], weight: 2, limits: { budget_usd_per_day: 3 } } }
budgets: { unknown_price: refuse }
cache: { ttl: 1h, max_result: 2MiB, embedding_items: false }
jobs: { retain: 1d, max_queued: 5, stalled_after: 20s }
redrive: [{ error_codes: [timeout], after: 5m }]
schedules: [{ tenant: acme, name: nightly, cron: '@daily', job: { type: chat, body: { model: one/m } } }]
flows: { max_steps: 10 }
files: { max_bytes_per_tenant: 1GiB, retain: 2d }
encryption: { keys: ["${Buffer.alloc(32, 1).toString('hex')}"] }
webhooks: { secret: whsec_c2VjcmV0c2VjcmV0c2VjcmV0, schedule: [1s] }
log: { level: debug }
`

/** Watches a file and hands out its reports, one by one. */
function observe(path: string) {
  const reports: Report[] = []
  let wake: (() => void) | undefined
  const push = (report: Report): void => {
    reports.push(report)
    wake?.()
  }
  const watcher = watchConfig({
    path,
    env: {},
    debounceMs: 20,
    onChange: (config) => push({ config }),
    onFault: (fault) => push({ fault }),
  })
  return {
    close: watcher.close,
    async next(): Promise<Report> {
      while (reports.length === 0) {
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
      return reports.shift() as Report
    },
    async nextTtl(): Promise<number | undefined> {
      const report = await this.next()
      return 'config' in report ? report.config.cache.ttl : undefined
    },
  }
}

describe('watching', () => {
  let directory = ''
  let path = ''
  let observed: ReturnType<typeof observe> | undefined
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'sluice-watch-'))
    path = join(directory, 'sluice.yaml')
  })
  afterEach(() => {
    observed?.close()
    rmSync(directory, { recursive: true })
  })

  const replace = (text: string): void => {
    writeFileSync(`${path}.new`, text)
    renameSync(`${path}.new`, path)
  }

  test('reports a file written in its place', async () => {
    writeFileSync(path, smallest)
    observed = observe(path)
    writeFileSync(path, withTtl('1h'))
    expect(await observed.nextTtl()).toBe(3_600_000)
  })

  test('reports each atomic replacement, not the first alone', async () => {
    writeFileSync(path, smallest)
    observed = observe(path)
    for (const [ttl, milliseconds] of [
      ['1h', 3_600_000],
      ['2h', 7_200_000],
      ['3h', 10_800_000],
    ] as const) {
      replace(withTtl(ttl))
      expect(await observed.nextTtl()).toBe(milliseconds)
    }
  })

  test('reports a swapped directory behind symlinks, as Kubernetes mounts ConfigMaps', async () => {
    const write = (version: string, text: string): void => {
      mkdirSync(join(directory, version))
      writeFileSync(join(directory, version, 'sluice.yaml'), text)
      symlinkSync(version, join(directory, '..data_tmp'))
      renameSync(join(directory, '..data_tmp'), join(directory, '..data'))
    }
    write('..1', withTtl('1h'))
    symlinkSync('..data/sluice.yaml', path)
    observed = observe(path)
    write('..2', withTtl('2h'))
    expect(await observed.nextTtl()).toBe(7_200_000)
    rmSync(join(directory, '..1'), { recursive: true })
    write('..3', withTtl('3h'))
    expect(await observed.nextTtl()).toBe(10_800_000)
  })

  test('reports a change in the directory that a symlink leads to', async () => {
    const elsewhere = join(directory, 'elsewhere')
    mkdirSync(elsewhere)
    writeFileSync(join(elsewhere, 'real.yaml'), smallest)
    symlinkSync('elsewhere/real.yaml', path)
    observed = observe(path)
    writeFileSync(join(elsewhere, 'real.new'), withTtl('1h'))
    renameSync(join(elsewhere, 'real.new'), join(elsewhere, 'real.yaml'))
    expect(await observed.nextTtl()).toBe(3_600_000)
  })

  test('does not report a file with the same content as before', async () => {
    writeFileSync(path, withTtl('1h'))
    observed = observe(path)
    replace(withTtl('1h'))
    writeFileSync(join(directory, 'other'), 'x')
    // Nothing should happen, so there is nothing to await but five times the requested rest.
    await new Promise((resolve) => setTimeout(resolve, 100))
    replace(withTtl('2h'))
    expect(await observed.nextTtl()).toBe(7_200_000)
  })

  test('reports the fault of a faulty file once, and then the next good one', async () => {
    writeFileSync(path, withTtl('1h'))
    observed = observe(path)
    replace(withTtl('soon'))
    const report = await observed.next()
    expect(report).toMatchObject({ fault: expect.any(ConfigError) })
    replace(withTtl('2h'))
    expect(await observed.nextTtl()).toBe(7_200_000)
  })

  test('reports a file that is gone, and its return', async () => {
    writeFileSync(path, withTtl('1h'))
    observed = observe(path)
    unlinkSync(path)
    expect(await observed.next()).toMatchObject({ fault: expect.any(ConfigError) })
    writeFileSync(path, withTtl('2h'))
    expect(await observed.nextTtl()).toBe(7_200_000)
  })
})

describe('the live configuration', () => {
  test('is replaced as a whole, and its subscribers learn of it until they leave', () => {
    const before = load(smallest)
    const live = createLiveConfig(before)
    const heard: Config[] = []
    const leave = live.subscribe((config) => heard.push(config))
    const next = load(everyMember)
    // A section that this test forgets, or that is added later, would not show its replacement.
    const taken = new Set([...Object.keys(next)].filter((section) => !RESTART.has(section)))
    for (const section of taken) expect(read(next, section), section).not.toEqual(read(before, section))
    live.replace(next)
    for (const section of taken) expect(read(live.current(), section), section).toEqual(read(next, section))
    expect(heard).toEqual([live.current()])
    leave()
    live.replace(load(withTtl('2h')))
    expect(heard).toHaveLength(1)
    expect(live.current().cache.ttl).toBe(7_200_000)
    for (const section of taken) {
      // Encryption does not stop because the file lost its keys.
      if (section === 'cache' || section === 'encryption') continue
      expect(read(live.current(), section), section).toEqual(read(before, section))
    }
  })

  test('keeps what needs a restart and names what it did not apply', () => {
    const live = createLiveConfig(load(`${smallest}redis: { url: "redis://one" }\n`))
    const next = load(
      `${withTtl('1h')}server: { port: 1 }\nredis: { cluster: ["redis://two"], prefix: other }\n`,
    )
    expect(live.replace(next)).toEqual(['server.port', 'redis.url', 'redis.prefix', 'redis.cluster'])
    expect(live.current()).toMatchObject({
      server: { port: 8080 },
      redis: { url: 'redis://one', prefix: 'sluice' },
      cache: { ttl: 3_600_000 },
    })
  })

  test('keeps where files lie, and applies how they are kept', () => {
    const live = createLiveConfig(load(`${smallest}files: { store: folder, folder: here }\n`))
    const next = load(`${smallest}files: { store: redis, folder: there, retain: 1d }\n`)
    expect(live.replace(next)).toEqual(['files.store', 'files.folder'])
    expect(live.current().files).toMatchObject({ store: 'folder', folder: 'here', retain: 86_400_000 })
  })

  test('does not open a service beyond loopback because the file went back to loopback without tenants', () => {
    const tenants = 'tenants: { acme: { keys: [key-of-enough-length] } }\n'
    const live = createLiveConfig(load(`${smallest}server: { host: 0.0.0.0 }\n${tenants}`))
    expect(live.replace(load(smallest))).toEqual(['server.host', 'tenants'])
    expect(Object.keys(live.current().tenants)).toEqual(['acme'])
  })

  test('accepts other encryption keys, but does not stop encrypting because the file lost them', () => {
    const withKeys = (...bytes: number[]) =>
      load(
        `${smallest}encryption: { keys: [${bytes.map((byte) => Buffer.alloc(32, byte).toString('hex'))}] }\n`,
      )
    const live = createLiveConfig(load(smallest))
    expect(live.replace(withKeys(0xa1))).toEqual([])
    expect(live.replace(withKeys(0xb2, 0xa1))).toEqual([])
    expect(live.replace(load(smallest))).toEqual(['encryption.keys'])
    expect(live.current().encryption).toEqual(withKeys(0xb2, 0xa1).encryption)
  })
})
