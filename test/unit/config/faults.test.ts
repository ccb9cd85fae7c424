import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { ConfigError } from '../../../config/load.ts'
import { faultsOf, load, smallest } from './load-fixture.ts'

/** A provider with further members, from line 6. */
const openai = (members: string): string => `providers:
  openai:
    kind: openai
    api_key: sk-plain-for-tests
    models: { gpt-5-mini: {} }
${members}`

const expectedDuration = 'expected a duration such as "500ms", "60s", "2h" or "7d"'

describe('one fault, with its line', () => {
  test.each<[name: string, text: string, fault: string]>([
    [
      'a word for a number',
      openai('    limits:\n      requests_per_minute: fast'),
      'providers.openai.limits.requests_per_minute: expected a number, got "fast" (sluice.yaml:7)',
    ],
    [
      'a number that is not whole',
      openai('    limits: { requests_per_minute: 1.5 }'),
      'providers.openai.limits.requests_per_minute: expected a whole number, got 1.5 (sluice.yaml:6)',
    ],
    [
      'too small a number',
      openai('    limits: { max_concurrency: 0 }'),
      'providers.openai.limits.max_concurrency: expected at least 1, got 0 (sluice.yaml:6)',
    ],
    [
      'no headroom at all',
      openai('    limits: { headroom: 0 }'),
      'providers.openai.limits.headroom: expected more than 0, got 0 (sluice.yaml:6)',
    ],
    [
      'a headroom over one',
      openai('    limits: { headroom: 1.1 }'),
      'providers.openai.limits.headroom: expected at most 1, got 1.1 (sluice.yaml:6)',
    ],
    [
      'two sources of one name',
      smallest.replace('{}', '{ sources: [{ name: a }, { name: b }, { name: a }] }'),
      'providers.openai.models.gpt-5-mini.sources[2].name: is also the name of sources[0] (sluice.yaml:7)',
    ],
    [
      'a source without a name',
      smallest.replace('{}', '{ sources: [{ api_key: sk-plain-for-tests }] }'),
      'providers.openai.models.gpt-5-mini.sources[0].name: missing; expected a string (sluice.yaml:7)',
    ],
    [
      'a source that weighs nothing',
      smallest.replace('{}', '{ sources: [{ name: a, weight: 0 }] }'),
      'providers.openai.models.gpt-5-mini.sources[0].weight: expected more than 0, got 0 (sluice.yaml:7)',
    ],
    [
      'a key of a source that no header can hold',
      smallest.replace('{}', '{ sources: [{ name: a, api_key: " sk-1" }] }'),
      'providers.openai.models.gpt-5-mini.sources[0].api_key: expected no blank and no line break at its beginning or end (sluice.yaml:7)',
    ],
    [
      'a shared limit of no model',
      openai('    shared_limits: { family: { models: [gpt-4*], requests_per_minute: 5 } }'),
      'providers.openai.shared_limits.family.models[0]: names no model of this provider (sluice.yaml:6)',
    ],
    [
      'a shared limit without a limit',
      openai('    shared_limits: { family: { models: [gpt-5*] } }'),
      'providers.openai.shared_limits.family: expected at least one limit, such as requests_per_minute (sluice.yaml:6)',
    ],
    [
      'a shared limit that names nothing',
      openai('    shared_limits: { family: { models: [], requests_per_minute: 5 } }'),
      'providers.openai.shared_limits.family.models: expected at least 1 entry (sluice.yaml:6)',
    ],
    [
      'a shared concurrency that cannot be found out',
      openai('    shared_limits: { family: { models: [gpt-5*], max_concurrency: auto } }'),
      'providers.openai.shared_limits.family.max_concurrency: expected a number, got "auto" (sluice.yaml:6)',
    ],
    [
      'a duration without a unit',
      openai('    timeout: 120'),
      `providers.openai.timeout: ${expectedDuration}, got 120 (sluice.yaml:6)`,
    ],
    [
      'a duration with a unit that there is not',
      openai('    timeout: 2w'),
      `providers.openai.timeout: ${expectedDuration}, got "2w" (sluice.yaml:6)`,
    ],
    [
      'a duration of nothing where it must pass',
      openai('    timeout: 0s'),
      'providers.openai.timeout: expected a duration from 1ms to 24h (sluice.yaml:6)',
    ],
    [
      'a redrive after the job is gone',
      `${smallest}jobs: { retain: 1d }\nredrive:\n  - { error_codes: [timeout], after: 1d }`,
      'redrive[0].after: expected less than jobs.retain, after which a failed job is deleted (sluice.yaml:10)',
    ],
    [
      'a redrive of a lane that there is not',
      `${smallest}redrive:\n  - { error_codes: [timeout], lanes: [openai/gpt-5-mini, openai/other] }`,
      'redrive[0].lanes[1]: no such lane: its provider lists neither the model nor "*", got "openai/other" (sluice.yaml:9)',
    ],
    [
      'a schedule of a tenant that there is not',
      `${smallest}schedules:\n  - { tenant: acme, name: a, every: 1h, job: { type: chat, body: { model: m } } }`,
      'schedules[0].tenant: no such tenant is configured (sluice.yaml:9)',
    ],
    [
      'a schedule without times',
      `${smallest}schedules:\n  - { name: a, job: { type: chat, body: { model: m } } }`,
      'schedules[0].cron: expected either cron or every (sluice.yaml:9)',
    ],
    [
      'a schedule at times that cannot be',
      `${smallest}schedules:\n  - { name: a, cron: "0 25 * * *", job: { type: chat, body: { model: m } } }`,
      'schedules[0].cron: Invalid value for hour: 25 (sluice.yaml:9)',
    ],
    [
      'a schedule in a zone that there is not',
      `${smallest}schedules:\n  - { name: a, cron: "@daily", time_zone: Mars, job: { type: chat, body: { model: m } } }`,
      'schedules[0].time_zone: expected the name of a time zone, such as Europe/Berlin (sluice.yaml:9)',
    ],
    [
      'two schedules of one name',
      `${smallest}schedules:\n  - { name: a, cron: "@daily", job: &job { type: chat, body: { model: m } } }\n  - { name: a, every: 5m, job: *job }`,
      'schedules[1].name: is also the name of another schedule of the tenant (sluice.yaml:10)',
    ],
    [
      'a redrive of no failure',
      `${smallest}redrive:\n  - { error_codes: [] }`,
      'redrive[0].error_codes: expected at least 1 entry (sluice.yaml:9)',
    ],
    [
      'an endpoint for traces without a scheme',
      `${smallest}tracing:\n  endpoint: 127.0.0.1:4318`,
      'tracing.endpoint: expected an http:// or https:// URL without credentials, query or fragment (sluice.yaml:9)',
    ],
    [
      'a proxy of a kind that is not understood, whose password stays unsaid',
      `${smallest}network: { proxy: "socks5://user:sesame@proxy:1080" }`,
      'network.proxy: expected the http:// or https:// URL of a proxy, or none (sluice.yaml:8)',
    ],
    [
      'a proxy exception that is two',
      `${smallest}network: { no_proxy: ["a, b"] }`,
      'network.no_proxy[0]: expected one host, such as localhost or .internal (sluice.yaml:8)',
    ],
    [
      'a share of traces over all of them',
      `${smallest}tracing: { sample: 2 }`,
      'tracing.sample: expected at most 1, got 2 (sluice.yaml:8)',
    ],
    [
      'a size without a unit',
      `${smallest}cache:\n  max_result: 5`,
      'cache.max_result: expected a size such as "512B", "64KiB", "1MiB" or "2GB", got 5 (sluice.yaml:9)',
    ],
    [
      'a size of nothing',
      `${smallest}cache:\n  max_result: 0B`,
      'cache.max_result: expected a size of at least 1B (sluice.yaml:9)',
    ],
    [
      'an unknown member',
      `${smallest}jobs:\n  retian: 7d`,
      'jobs.retian: unknown member; known here: retain, hot, max_queued, max_schedules, stalled_after (sluice.yaml:9)',
    ],
    [
      'an unknown section',
      `${smallest}quue: {}`,
      'quue: unknown member; known here: server, redis, providers, routes, tenants, budgets, cache, jobs, history, redrive, schedules, worker, files, flows, encryption, webhooks, network, log, tracing (sluice.yaml:8)',
    ],
    [
      'an unknown kind',
      'providers:\n  one:\n    kind: opnai\n    models: { m: {} }',
      'providers.one.kind: expected one of "openai", "azure-openai", "anthropic", "gemini", "openai-compatible", got "opnai" (sluice.yaml:3)',
    ],
    [
      'no kind',
      'providers:\n  one:\n    models: { m: {} }',
      'providers.one.kind: expected one of "openai", "azure-openai", "anthropic", "gemini", "openai-compatible", got nothing (sluice.yaml:2)',
    ],
    [
      'a missing key, at the line of its provider',
      'log: {}\nproviders:\n  one:\n    kind: openai\n    models: { m: {} }',
      'providers.one.api_key: missing; expected a string (sluice.yaml:3)',
    ],
    [
      'a missing base_url where the kind has none of its own',
      'providers:\n  one: { kind: azure-openai, api_key: k, models: { m: {} } }',
      'providers.one.base_url: missing; expected a string (sluice.yaml:2)',
    ],
    [
      'an invalid base_url',
      openai('    base_url: api.openai.com'),
      'providers.openai.base_url: expected an http:// or https:// URL without credentials, query or fragment (sluice.yaml:6)',
    ],
    [
      'a member of another kind',
      openai('    api_version: preview'),
      'providers.openai.api_version: unknown member; known here: kind, base_url, api_key, headers, limits, shared_limits, timeout, retry, coalesce, max_lanes, models (sluice.yaml:6)',
    ],
    [
      'no models',
      'providers: { one: { kind: openai, api_key: k, models: {} } }',
      'providers.one.models: expected at least one model (sluice.yaml:1)',
    ],
    ['no providers', 'providers: {}', 'providers: expected at least one provider (sluice.yaml:1)'],
    ['an empty file', '', 'providers: missing; expected a mapping (sluice.yaml:1)'],
    ['a list for the whole', '- a', 'expected a mapping, got a list (sluice.yaml:1)'],
    ['an empty section', `${smallest}cache:\n`, 'cache: expected a mapping, got nothing (sluice.yaml:8)'],
    [
      'a name of a provider with a slash',
      'providers: { a/b: { kind: openai, api_key: k, models: { m: {} } } }',
      'providers.a/b: a name starts with a letter or a digit and has letters, digits and . _ - only, 64 at the most (sluice.yaml:1)',
    ],
    [
      'a name of a model that would end a Redis hash tag',
      openai('').replace('gpt-5-mini', '"a}b"'),
      'providers.openai.models.a}b: a model name starts with a letter, a digit, "/", "@" or "*" and has letters, digits, blanks within and . _ : / @ * + ~ - only, 200 at the most (sluice.yaml:5)',
    ],
    [
      'an alias with a slash',
      `${smallest}routes:\n  a/b: [openai/gpt-5-mini]`,
      'routes.a/b: an alias starts with a letter or a digit and has letters, digits and . _ : - only (no "/"), 64 at the most (sluice.yaml:9)',
    ],
    [
      'an empty route',
      `${smallest}routes: { fast: [] }`,
      'routes.fast: expected at least 1 entry (sluice.yaml:8)',
    ],
    [
      'a route to a model that is not listed',
      `${smallest}routes:\n  fast:\n    - openai/gpt-5-mini\n    - openai/gpt-6`,
      'routes.fast[1]: no such lane: its provider lists neither the model nor "*", got "openai/gpt-6" (sluice.yaml:11)',
    ],
    [
      'a route to a provider that there is not',
      `${smallest}routes: { fast: [other/gpt-5-mini] }`,
      'routes.fast[0]: no such lane: its provider is not configured, got "other/gpt-5-mini" (sluice.yaml:8)',
    ],
    [
      'a route to another alias',
      `${smallest}routes: { fast: [openai/gpt-5-mini], quick: [fast] }`,
      'routes.quick[0]: expected a lane "provider/model", got "fast" (sluice.yaml:8)',
    ],
    [
      'a tenant without keys',
      `${smallest}tenants: { acme: { keys: [] } }`,
      'tenants.acme.keys: expected at least 1 entry (sluice.yaml:8)',
    ],
    [
      'a short key',
      `${smallest}tenants:\n  acme:\n    keys:\n      - short`,
      'tenants.acme.keys[0]: expected a key of at least 16 characters without spaces, or "sha256:" and 64 hex digits (sluice.yaml:11)',
    ],
    [
      'a digest that is too short',
      `${smallest}tenants: { acme: { keys: ["sha256:0123456789abcdef"] } }`,
      'tenants.acme.keys[0]: expected a key of at least 16 characters without spaces, or "sha256:" and 64 hex digits (sluice.yaml:8)',
    ],
    [
      'a host beyond loopback without tenants',
      `${smallest}server:\n  host: 0.0.0.0`,
      'server.host: a host beyond loopback needs tenants with keys (sluice.yaml:9)',
    ],
    [
      'two places for Redis',
      `${smallest}redis: { url: "redis://a", cluster: ["redis://b"] }`,
      'redis.cluster: expected either url or cluster, not both (sluice.yaml:8)',
    ],
    [
      'a webhook secret that is no base64',
      `${smallest}webhooks:\n  secret: whsec_not!base64`,
      'webhooks.secret: expected base64 after "whsec_" (sluice.yaml:9)',
    ],
    [
      'a member given twice',
      `${smallest}jobs:\n  retain: 7d\n  retain: 8d`,
      'jobs.retain: given twice; first in line 9 (sluice.yaml:10)',
    ],
    [
      'a list as a name',
      `${smallest}jobs: { ? [a] : 1 }`,
      'jobs: a name that is not plain text (sluice.yaml:8)',
    ],
    [
      'an alias of its own surroundings',
      `${smallest}routes: &all { fast: *all }`,
      'routes.fast: an alias of a value that contains it (sluice.yaml:8)',
    ],
    [
      'an alias without an anchor',
      `${smallest}routes: *here`,
      'routes: an alias ("*name") without its anchor; text that starts with "*" needs quotes (sluice.yaml:8)',
    ],
    [
      'a variable that is not set',
      openai(`    timeout: "\${WAIT}"`),
      'providers.openai.timeout: environment variable WAIT is not set (sluice.yaml:6)',
    ],
    [
      'a variable that is not closed',
      openai(`    headers:\n      x-a: "\${WAIT"`),
      `providers.openai.headers.x-a: a "\${" that is neither \${NAME} nor \${NAME:-default}; write "$\${" for a literal one (sluice.yaml:7)`,
    ],
  ])('%s', (_name, text, fault) => {
    expect(faultsOf(text)).toEqual([fault])
  })

  test('two tenants with one key, also where one of them is hashed', () => {
    const digest = createHash('sha256').update('key-of-enough-length').digest('hex')
    const text = `${smallest}tenants:\n  one: { keys: ["sha256:${digest}"] }\n  two: { keys: [key-of-enough-length] }`
    expect(faultsOf(text)).toEqual(['tenants.two.keys[0]: tenant "one" has the same key (sluice.yaml:10)'])
  })

  test('a tenant opens the host beyond loopback', () => {
    const text = `${smallest}server: { host: 0.0.0.0 }\ntenants: { acme: { keys: [key-of-enough-length] } }`
    expect(load(text).server.host).toBe('0.0.0.0')
  })

  test.each(['127.0.0.1', '127.9.9.9', 'localhost', '"::1"'])('the host %s is loopback', (host) => {
    expect(load(`${smallest}server: { host: ${host} }`).tenants).toEqual({})
  })

  test.each(['0.0.0.0', '"::"', '10.0.0.1', '127.example.com', '128.0.0.1'])(
    'the host %s is not loopback',
    (host) => {
      expect(faultsOf(`${smallest}server: { host: ${host} }`)).toHaveLength(1)
    },
  )

  test('HOST and PORT are named when they are at fault', () => {
    expect(faultsOf(smallest, { HOST: '0.0.0.0', PORT: 'http' })).toEqual([
      `server.port: expected a number, got \${PORT} (PORT in the environment)`,
      'server.host: a host beyond loopback needs tenants with keys (HOST in the environment)',
    ])
  })
})

describe('a file that is not YAML', () => {
  test.each([
    ['a tab', 'a:\n\tb: 1', 'not YAML: Tabs are not allowed as indentation (sluice.yaml:2)'],
    ['an open quote', 'a: "b', 'not YAML: Missing closing "quote (sluice.yaml:1)'],
    ['a second document', 'a: 1\n---\nb: 1', 'not YAML: more than one document in the file (sluice.yaml:2)'],
    [
      'an unknown tag',
      'a: 1\nb: !secret x',
      'not YAML: an unknown tag; text that starts with "!" needs quotes (sluice.yaml:2)',
    ],
  ])('%s is reported with its line', (_name, text, fault) => {
    expect(faultsOf(text)).toContain(fault)
  })
})

describe('many faults', () => {
  const text = `server: { host: 0.0.0.0, prot: 1 }
providers:
  openai:
    kind: openai
    api_key: "\${OPENAI_API_KEY}"
    timeout: soon
    models:
      gpt-5-mini: { price: { input: cheap } }
routes:
  fast: [openai/gpt-5-mini, openai/gpt-6]
  fast: []
`

  test('are all listed, in the order of the file', () => {
    expect(faultsOf(text)).toEqual([
      'server.prot: unknown member; known here: host, port, public_url, cors, max_streams_per_tenant, early_headers (sluice.yaml:1)',
      'server.host: a host beyond loopback needs tenants with keys (sluice.yaml:1)',
      'providers.openai.api_key: environment variable OPENAI_API_KEY is not set (sluice.yaml:5)',
      `providers.openai.timeout: ${expectedDuration}, got "soon" (sluice.yaml:6)`,
      'providers.openai.models.gpt-5-mini.price.input: expected a number, got "cheap" (sluice.yaml:8)',
      'routes.fast[1]: no such lane: its provider lists neither the model nor "*", got "openai/gpt-6" (sluice.yaml:10)',
      'routes.fast: given twice; first in line 10 (sluice.yaml:11)',
    ])
  })

  test('make one error with the exit code 78', () => {
    expect.assertions(3)
    try {
      load(text)
    } catch (error) {
      expect(error).toBeInstanceOf(ConfigError)
      expect(error).toMatchObject({ exitCode: 78 })
      expect(String(error)).toMatch(/^ConfigError: 7 faults in the configuration\n {2}server\.prot: /)
    }
  })
})

describe('secrets', () => {
  const value = 'SECRET-that-none-may-see'

  test.each<[place: string, text: string]>([
    ['a key of a provider that is a list', openai('').replace('sk-plain-for-tests', `[${value}]`)],
    ['keys of a tenant that are no list', `${smallest}tenants: { acme: { keys: ${value} } }`],
    ['a tenant that is a key', `${smallest}tenants: { acme: ${value} }`],
    ['a key of a tenant with a space', `${smallest}tenants: { acme: { keys: ["${value} x"] } }`],
    ['the same key twice', `${smallest}tenants: { a: { keys: [${value}] }, b: { keys: [${value}] } }`],
    ['a webhook secret', `${smallest}webhooks: { secret: "whsec_${value}" }`],
    ['webhooks that are a secret', `${smallest}webhooks: ${value}`],
    ['a Redis password', `${smallest}redis: { url: "http://:${value}@host" }`],
    ['a password in a base_url', openai(`    base_url: https://me:${value}@host/v1`)],
    ['a header', openai(`    headers: { x-key: ["${value}"] }`)],
    ['an unknown tag', `api_key: !${value}`],
    ['an unknown alias', `api_key: *${value}`],
    ['text behind a quote', `api_key: "a" ${value}`],
    ['text behind a block header', `api_key: |${value}`],
    ['a wrong escape', `api_key: "\\U${value}"`],
  ])('%s is a fault that does not show it', (_place, text) => {
    expect(faultsOf(text).join('\n')).not.toContain('SECRET')
  })

  test('a value from the environment is never shown, at any place', () => {
    const text = `${smallest}server:\n  port: \${MIXED_UP}\nlog: { level: "\${MIXED_UP}" }\ncache: { ttl: "\${MIXED_UP}" }\nroutes: { a: ["\${MIXED_UP}"] }`
    const faults = faultsOf(text, { MIXED_UP: value })
    expect(faults).toHaveLength(4)
    expect(faults[0]).toBe(`server.port: expected a number, got \${MIXED_UP} (sluice.yaml:9)`)
    expect(faults.join('\n')).not.toContain('SECRET')
  })
})
