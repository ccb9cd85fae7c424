import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { ConfigError, findConfigPath, loadConfig } from '../../../config/load.ts'
import { load, smallest } from './load-fixture.ts'

const example = readFileSync(new URL('../../../sluice.example.yaml', import.meta.url), 'utf8')

describe('defaults', () => {
  test('a provider with a model is enough; the rest has defaults in milliseconds and bytes', () => {
    expect(load(smallest)).toEqual({
      server: {
        host: '127.0.0.1',
        port: 8080,
        cors: { origins: [] },
        max_streams_per_tenant: 1000,
        early_headers: 10_000,
      },
      redis: { prefix: 'sluice', memory_share: 0.7, durable: false },
      worker: { hung_after: 300_000, spool: '.sluice/spool' },
      providers: {
        openai: {
          kind: 'openai',
          base_url: 'https://api.openai.com/v1',
          api_key: 'sk-plain-for-tests',
          headers: {},
          limits: { max_concurrency: 64, window: 'auto', headroom: 0.99 },
          max_lanes: 2500,
          shared_limits: {},
          timeout: 120_000,
          retry: { max_attempts: 6, base: 500, cap: 60_000 },
          models: {
            'gpt-5-mini': {
              cache: { mode: 'exact' },
              tiers: {},
              prompt_cache: 'off',
              limits: {},
              retry: {},
            },
          },
        },
      },
      routes: {},
      tenants: {},
      budgets: { unknown_price: 'allow' },
      cache: { mode: 'exact', ttl: 86_400_000, max_result: 1_048_576, embedding_items: true },
      jobs: {
        ...{ retain: 604_800_000, hot: 3_600_000, max_queued: 1_000_000 },
        ...{ max_schedules: 1000, stalled_after: 15_000 },
      },
      redrive: [],
      schedules: [],
      files: { folder: '.sluice/files', max_bytes_per_tenant: 2_147_483_648, retain: 2_592_000_000 },
      flows: {
        max_steps: 1000,
        max_elements: 10_000,
        max_open: 10_000,
        max_size: 4_194_304,
        max_signal: 262_144,
        max_value: 16_777_216,
      },
      encryption: { keys: [] },
      webhooks: {
        allow_private_addresses: false,
        schedule: [0, 5_000, 300_000, 1_800_000, 7_200_000, 18_000_000, 36_000_000, 36_000_000],
      },
      network: {},
      log: { level: 'info' },
      tracing: { headers: {}, sample: 1, content: false, service_name: 'sluice' },
    })
  })

  test.each([
    ['openai', 'https://api.openai.com/v1'],
    ['gemini', 'https://generativelanguage.googleapis.com/v1beta/openai'],
    ['anthropic', 'https://api.anthropic.com'],
  ])('the kind %s knows its base_url', (kind, url) => {
    const config = load(`providers: { one: { kind: ${kind}, api_key: key, models: { m: {} } } }`)
    expect(config.providers.one?.base_url).toBe(url)
  })

  test('an openai-compatible provider needs no key', () => {
    const config = load(
      'providers: { one: { kind: openai-compatible, base_url: "http://127.0.0.1:11434/v1/", models: { m: {} } } }',
    )
    expect(config.providers.one).toMatchObject({ api_key: 'none', base_url: 'http://127.0.0.1:11434/v1' })
  })

  test('an empty Redis URL counts as missing', () => {
    expect(load(`${smallest}redis: { url: "\${REDIS_URL:-}" }`).redis.url).toBeUndefined()
    expect(load(`${smallest}redis: { url: "\${REDIS_URL:-}" }`, { REDIS_URL: 'redis://one' }).redis.url).toBe(
      'redis://one',
    )
  })

  test('names of models keep the text of the file', () => {
    const config = load(`${smallest}      4.10: {}\n      meta-llama/Llama-3.1-8B:free: {}\n      "*": {}\n`)
    expect(Object.keys(config.providers.openai?.models ?? {})).toEqual([
      'gpt-5-mini',
      '4.10',
      'meta-llama/Llama-3.1-8B:free',
      '*',
    ])
  })

  test('an anchor may be used several times', () => {
    const config = load(
      `${smallest}      one: { limits: &few { requests_per_minute: 5 } }\n      two: { limits: *few }\n`,
    )
    expect(config.providers.openai?.models.two?.limits).toEqual({ requests_per_minute: 5 })
  })
})

describe('the example file', () => {
  test('loads with the one variable that it names', () => {
    expect(Object.keys(load(example, { OPENAI_API_KEY: 'sk-x' }).providers)).toEqual(['openai'])
  })

  test('loads with everything in it that is commented out', () => {
    // Prose comments are "# Words"; members are commented with a bare "#".
    const whole = example.replace(/^( *)#(?! \S|$)/gm, '$1')
    const config = load(whole, {
      OPENAI_API_KEY: 'sk-x',
      ANTHROPIC_API_KEY: 'sk-y',
      GEMINI_API_KEY: 'z',
      AZURE_OPENAI_API_KEY: 'a',
      AZURE_SWEDEN_KEY: 'b',
      OPENAI_SECOND_KEY: 'k',
      ANTHROPIC_SECOND_KEY: 'k',
      ACME_KEY: 'acme-key-of-enough-length',
      OPS_KEY: 'ops-key-of-enough-length',
      S3_ACCESS_KEY_ID: 'id',
      S3_SECRET_ACCESS_KEY: 'secret',
      SLUICE_ENCRYPTION_KEY: 'ab'.repeat(32),
      WEBHOOK_SECRET: 'whsec_c2VjcmV0IHNlY3JldCBzZWNyZXQ=',
    })
    expect(Object.keys(config.providers)).toEqual(['openai', 'anthropic', 'gemini', 'azure', 'local', 'vllm'])
    expect(Object.keys(config.tenants)).toEqual(['acme', 'ops'])
    expect(config.routes.smart).toHaveLength(3)
    expect(config.webhooks.secret).toBe('whsec_c2VjcmV0IHNlY3JldCBzZWNyZXQ=')
  })
})

describe('environment', () => {
  const withKey = (text: string): string => smallest.replace('sk-plain-for-tests', () => text)
  const keyOf = (text: string, env: Record<string, string>): string | undefined =>
    load(withKey(text), env).providers.openai?.api_key

  test('a variable may be anywhere in a value', () => {
    expect(keyOf(`"a-\${ONE}-\${TWO}-z"`, { ONE: '1', TWO: '2' })).toBe('a-1-2-z')
  })

  test('a default is used if the variable is unset or empty', () => {
    expect(keyOf(`"\${KEY:-spare}"`, {})).toBe('spare')
    expect(keyOf(`"\${KEY:-spare}"`, { KEY: '' })).toBe('spare')
    expect(keyOf(`"\${KEY:-spare}"`, { KEY: 'real' })).toBe('real')
  })

  test('the content of a variable is text, never structure and never a reference again', () => {
    expect(keyOf(`\${KEY}`, { KEY: `{ a: [1] } # \${OTHER}` })).toBe(`{ a: [1] } # \${OTHER}`)
    expect(keyOf(`"$\${KEY}"`, { KEY: 'x' })).toBe(`\${KEY}`)
  })

  test('names are not expanded', () => {
    const config = load(`${smallest}routes: { a: [openai/gpt-5-mini] }\n# \${NOWHERE}\n`)
    expect(Object.keys(config.routes)).toEqual(['a'])
  })

  test('an unquoted variable alone may be a number, or true or false, if one is expected', () => {
    const text = `${smallest}server:\n  port: \${WEB}\nwebhooks:\n  allow_private_addresses: \${PRIVATE:-true}\n`
    const config = load(text, { WEB: '9000' })
    expect(config.server.port).toBe(9000)
    expect(config.webhooks.allow_private_addresses).toBe(true)
  })

  test('a key of digits alone stays a string', () => {
    expect(keyOf(`\${KEY}`, { KEY: '00123' })).toBe('00123')
  })

  test('HOST and PORT override the file', () => {
    const text = `${smallest}server: { host: 127.0.0.2, port: 1 }\n`
    expect(load(text, { HOST: 'localhost', PORT: '9001' }).server).toMatchObject({
      host: 'localhost',
      port: 9001,
    })
    expect(load(smallest, { HOST: '', PORT: '9001' }).server).toMatchObject({ host: '127.0.0.1', port: 9001 })
  })

  test('with WORKER_PORT a worker listens, on loopback by default, and it overrides the file', () => {
    const listen = (env: Record<string, string>, text = smallest) => load(text, env).worker.listen
    expect(listen({})).toBeUndefined()
    expect(listen({ WORKER_PORT: '9464' })).toEqual({ host: '127.0.0.1', port: 9464 })
    expect(listen({ WORKER_PORT: '9464', WORKER_HOST: '0.0.0.0' })).toEqual({ host: '0.0.0.0', port: 9464 })
    const text = `${smallest}worker: { spool: here, listen: { port: 1, host: 127.0.0.2 } }\n`
    expect(listen({}, text)).toEqual({ host: '127.0.0.2', port: 1 })
    expect(listen({ WORKER_PORT: '2' }, text)).toEqual({ host: '127.0.0.2', port: 2 })
    expect(listen({ WORKER_HOST: '::1' }, text)).toEqual({ host: '::1', port: 1 })
    expect(load(text, { WORKER_PORT: '2' }).worker.spool).toBe('here')
    // An address alone is not enough to listen.
    expect(listen({ WORKER_HOST: '0.0.0.0' })).toBeUndefined()
    expect(() => load(smallest, { WORKER_PORT: 'many' })).toThrow(
      `worker.listen.port: expected a number, got \${WORKER_PORT} (WORKER_PORT in the environment)`,
    )
    expect(() => load(`${smallest}worker: 5\n`, { WORKER_PORT: '2' })).toThrow('worker: ')
  })
})

describe('the file', () => {
  let directory = ''
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'sluice-load-'))
  })
  afterEach(() => rmSync(directory, { recursive: true }))

  test('is read from its path', () => {
    const path = join(directory, 'sluice.yaml')
    writeFileSync(path, smallest)
    expect(loadConfig({ path, env: {} })).toEqual(load(smallest))
  })

  test('if it is missing, the fault says how to make one', () => {
    const path = join(directory, 'sluice.yaml')
    const attempt = () => loadConfig({ path, env: {} })
    expect(attempt).toThrow(ConfigError)
    expect(attempt).toThrow(`${path}: no such file; create one with "cp sluice.example.yaml sluice.yaml"`)
  })

  test('if it cannot be read, the fault says so', () => {
    expect(() => loadConfig({ path: directory, env: {} })).toThrow(`${directory}: cannot be read (EISDIR)`)
  })

  test('is the one of --config, else of SLUICE_CONFIG, else sluice.yaml', () => {
    const env = { SLUICE_CONFIG: 'other.yaml' }
    expect(findConfigPath({ path: '/etc/one.yaml', env, cwd: '/home' })).toBe('/etc/one.yaml')
    expect(findConfigPath({ env, cwd: '/home' })).toBe('/home/other.yaml')
    expect(findConfigPath({ env: {}, cwd: '/home' })).toBe('/home/sluice.yaml')
  })
})

describe('the place of files', () => {
  const withFiles = (files: string) => load(`${smallest}files: ${files}\n`).files
  const key = 'access_key_id: a, secret_access_key: b'

  test('is open where it is not configured, and has a folder, a region and a prefix', () => {
    expect(withFiles('{}')).toMatchObject({ folder: '.sluice/files' })
    expect(withFiles('{}').store).toBeUndefined()
    const { s3 } = withFiles(
      `{ store: s3, s3: { bucket: my.files, endpoint: "http://minio:9000/", ${key} } }`,
    )
    expect(s3).toMatchObject({ endpoint: 'http://minio:9000', region: 'us-east-1', prefix: 'sluice' })
  })

  test.each([
    ['{ store: s3 }', 'files.s3: is required if files.store is s3'],
    ['{ store: disk }', 'files.store: expected one of'],
    [`{ s3: { bucket: A, ${key} } }`, 'files.s3.bucket: expected the name of a bucket'],
    [`{ s3: { bucket: abc, prefix: "../x", ${key} } }`, 'files.s3.prefix: expected words of letters'],
    [`{ s3: { bucket: abc, prefix: "/x", ${key} } }`, 'files.s3.prefix: expected words of letters'],
    [`{ s3: { bucket: abc, prefix: "x//y", ${key} } }`, 'files.s3.prefix: expected words of letters'],
    [`{ s3: { bucket: abc, endpoint: "s3.example", ${key} } }`, 'files.s3.endpoint: expected an http'],
    ['{ s3: { bucket: abc } }', 'files.s3.access_key_id: missing; expected a string'],
  ])('%s is a fault', (files, fault) => {
    expect(() => withFiles(files)).toThrow(fault)
  })
})

describe('certificates for Redis', () => {
  const withTls = (redis: string) => load(`${smallest}redis: ${redis}\n`)

  test('are accepted with rediss:// URLs', () => {
    const { redis } = withTls('{ url: "rediss://one", tls: { ca: ca.pem, cert: own.pem, key: own.key } }')
    expect(redis.tls).toEqual({ ca: 'ca.pem', cert: 'own.pem', key: 'own.key' })
  })

  test.each([
    ['{ url: "redis://one", tls: { ca: ca.pem } }', 'redis.tls: is only for rediss:// URLs'],
    ['{ tls: { ca: ca.pem } }', 'redis.tls: is only for rediss:// URLs'],
    ['{ cluster: ["rediss://one", "redis://two"], tls: {} }', 'redis.tls: is only for rediss:// URLs'],
    ['{ url: "rediss://one", tls: { cert: own.pem } }', 'redis.tls: expected cert and key together'],
  ])('%s is a fault, because it would do less than it says', (redis, fault) => {
    expect(() => withTls(redis)).toThrow(fault)
  })
})
