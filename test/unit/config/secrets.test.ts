import { expect, it } from 'vitest'
import { ConfigError, loadConfig } from '../../../config/load.ts'

const canary = 'canary-5f1c9b7e3d2a-0123'

/** The faults of a configuration in which a variable with this text is at the place. */
function faultsOf(place: string, value: string): readonly string[] {
  const at = (name: string, otherwise: string) => (place === name ? `"\${SECRET}"` : otherwise)
  const text = `providers:
  sim:
    kind: openai
    api_key: ${at('api_key', 'none')}
    headers: { x-team: ${at('header', 'a')} }
    models: { chat: {} }
tenants:
  acme:
    keys: [${at('tenant', 'a-key-of-a-tenant-0123')}]
webhooks: { secret: ${at('webhook', 'a')} }
redis: { url: ${at('redis', 'redis://127.0.0.1')} }
encryption: { keys: [${at('encryption', '')}] }
tracing: { headers: { x-key: ${at('tracing', 'a')} } }
files: { s3: { bucket: abc, access_key_id: ${at('s3_id', 'a')}, secret_access_key: ${at('s3_secret', 'a')} } }
`
  try {
    loadConfig({ path: '/etc/sluice.yaml', text, env: { SECRET: value } })
    return []
  } catch (error) {
    if (error instanceof ConfigError) return error.faults
    throw error
  }
}

const places = {
  api_key: ['providers.sim.api_key', 4, canary],
  header: ['providers.sim.headers.x-team', 5, canary],
  tenant: ['tenants.acme.keys[0]', 9, canary],
  webhook: ['webhooks.secret', 10, canary],
  redis: ['redis.url', 11, `redis://:${canary}@127.0.0.1`],
  encryption: ['encryption.keys[0]', 12, 'ab'.repeat(32)],
  tracing: ['tracing.headers.x-key', 13, canary],
  s3_id: ['files.s3.access_key_id', 14, canary],
  s3_secret: ['files.s3.secret_access_key', 14, canary],
} as const

it.each(Object.entries(places))(
  'characters around or inside of a secret are reported at the start, not at each call: %s',
  (place, [path, line, good]) => {
    expect(faultsOf(place, good)).toEqual([])
    for (const bad of [
      `${good}\n`,
      `${good}\r\n`,
      ` ${good}`,
      `${good} `,
      `\t${good}`,
      `${good}\nx-admin: 1`,
    ]) {
      const faults = faultsOf(place, bad)
      expect(faults, JSON.stringify(bad)).toHaveLength(1)
      expect(faults[0]).toMatch(/expected .*(?:blank|line break|control|spaces|32 bytes)/)
      expect(faults[0]!.startsWith(`${path}: `)).toBe(true)
      expect(faults[0]!.endsWith(` (sluice.yaml:${line})`)).toBe(true)
      expect(faults[0]).not.toContain(good.slice(0, 30))
    }
  },
)

it('a key or value that no header can carry is reported at the start', () => {
  for (const place of ['api_key', 'header', 'tracing']) {
    expect(faultsOf(place, 'ключ')[0]).toContain('that a header can carry')
  }
})
