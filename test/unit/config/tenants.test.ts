import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { createKeyring, resolveTenant } from '../../../config/tenants.ts'
import { load, smallest } from './load-fixture.ts'

const hashed = createHash('sha256').update('ops-key-of-enough-length').digest('hex')
const config = load(`${smallest}
jobs: { max_queued: 70 }
tenants:
  acme:
    keys: [acme-key-of-enough-length, acme-key-that-follows-it]
    weight: 3
    limits: { requests_per_minute: 600, max_queued: 5, budget_usd_per_day: 50 }
  ops: { keys: ["sha256:${hashed.toUpperCase()}"], admin: true }
`)

const budgetRules = { unknownPrice: 'allow', operationsUrl: null }

describe('a keyring', () => {
  test('finds the tenant by each of its keys', () => {
    const keyring = createKeyring(config)
    const acme = {
      name: 'acme',
      scopes: ['jobs', 'read'],
      key: null,
      weight: 3,
      budgetRules,
      limits: { requests_per_minute: 600, max_queued: 5, budget_usd_per_day: 50 },
    }
    expect(keyring.open).toBe(false)
    expect(keyring.find('acme-key-of-enough-length')).toEqual(acme)
    expect(keyring.find('acme-key-that-follows-it')).toEqual(acme)
  })

  test('finds a tenant whose key is only known by its digest, with the limit of jobs as its own', () => {
    expect(createKeyring(config).find('ops-key-of-enough-length')).toEqual({
      name: 'ops',
      scopes: ['admin'],
      key: null,
      weight: 1,
      budgetRules,
      limits: { max_queued: 70 },
    })
  })

  test.each(['', 'acme-key-of-enough-lengt', 'acme-key-of-enough-length ', `sha256:${hashed}`, hashed])(
    'finds no tenant for %j',
    (key) => {
      expect(createKeyring(config).find(key)).toBeNull()
    },
  )

  test('is open where no tenants are configured: any key, or none, is the tenant default', () => {
    const keyring = createKeyring(load(smallest))
    const tenant = {
      name: 'default',
      scopes: ['admin'],
      key: null,
      weight: 1,
      budgetRules,
      limits: { max_queued: 1_000_000 },
    }
    expect(keyring.open).toBe(true)
    expect(keyring.find('')).toEqual(tenant)
    expect(keyring.find('whatever')).toEqual(tenant)
  })
})

describe('the cache of a tenant', () => {
  const of = (installation: string, tenant: string) =>
    resolveTenant(
      load(`${smallest}
cache: { mode: ${installation} }
tenants: { acme: { keys: [acme-key-of-enough-length], cache: { mode: ${tenant} } } }
`),
      'acme',
    )?.cache

  test('is off where its configuration, or that of the installation, says so', () => {
    expect([of('exact', 'exact'), of('exact', 'off'), of('off', 'exact')]).toEqual([undefined, 'off', 'off'])
    expect(resolveTenant(load(`${smallest}\ncache: { mode: off }\n`), 'default')?.cache).toBe('off')
  })
})
