import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, it, onTestFinished } from 'vitest'
import { openDatabase } from '../../../history/database.ts'
import { migrate } from '../../../history/migrate.ts'
import { USAGE_SUMS } from '../../../history/tables.ts'
import { readUsage } from '../../../history/usage.ts'
import {
  acmeKey,
  chatJob,
  createTestApi,
  opsKey,
  type TestApi,
  type TestApiOptions,
  testTenants,
} from '../../helpers/api.ts'

const viewerKey = 'viewer-key-0123456789'

let api: TestApi | null = null
afterEach(() => api?.close())

const open = async (options: TestApiOptions = {}) => {
  api = await createTestApi(options)
  return async (
    url: string,
    key: string,
    more: { method?: 'POST'; payload?: object; tenant?: string } = {},
  ) => {
    const { tenant, ...request } = more
    const headers = { authorization: `Bearer ${key}`, ...(tenant && { 'x-tenant': tenant }) }
    const answer = await api!.app.inject({ url, headers, ...request })
    return { status: answer.statusCode, body: answer.json() }
  }
}

it('shows what each key may do, and how its tenant stands', async () => {
  const ask = await open({ tenants: { ...testTenants, viewers: { keys: [viewerKey], admin: 'read' } } })
  expect((await ask('/v1/jobs', acmeKey, { method: 'POST', payload: chatJob() })).status).toBe(202)
  expect((await ask('/v1/caller', acmeKey)).body).toMatchObject({
    ...{ tenant: 'acme', key: null, scopes: ['jobs', 'read'], reads_all: false, open: false },
    figures: { id: 'acme', counts: { queued: 1 }, max_queued: 1000 },
  })
  expect((await ask('/v1/caller', opsKey)).body).toMatchObject({ scopes: ['admin'], reads_all: true })
  const viewer = await ask('/v1/caller', viewerKey)
  expect(viewer.body).toMatchObject({ tenant: 'viewers', scopes: ['read'], reads_all: true })
  // It sees what an administrator sees, of every tenant, and can change nothing.
  expect((await ask('/v1/jobs/all', viewerKey)).body.data).toMatchObject([{ tenant: 'acme' }])
  const { data } = (await ask('/v1/jobs', viewerKey, { tenant: 'acme' })).body
  expect(data).toHaveLength(1)
  const path = `/v1/jobs/${data[0].id}`
  expect((await ask(path, viewerKey, { tenant: 'acme' })).status).toBe(200)
  for (const tenant of ['acme', 'viewers']) {
    const refused = await ask(`${path}/cancel`, viewerKey, { method: 'POST', tenant })
    expect(refused).toMatchObject({ status: 403, body: { error: { code: 'forbidden' } } })
  }
})

/** The usage of a history with one job of each of these tenants. */
async function openUsage({ root }: TestApi, tenants: readonly string[]) {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-usage-'))
  const database = openDatabase(`sqlite:${join(folder, 'history.db')}`)
  onTestFinished(async () => {
    await database.close()
    await rm(folder, { recursive: true })
  })
  await migrate(database)
  const names = ['root', 'day', 'model', 'tier', 'fair_key', 'fair_label'] as const
  for (const tenant of tenants) {
    await database.change(root(tenant), (trx) =>
      database.insertMany(trx, {
        table: 'history_usage',
        columns: [
          ...names.map((name) => [name, 'text'] as const),
          ...USAGE_SUMS.map((name) => [name, 'bigint'] as const),
        ],
        rows: [[root(tenant), '2026-11-30', 'openai/small', '', '', '', ...USAGE_SUMS.map(() => 1)]],
        conflict: '',
      }),
    )
  }
  const prefix = root().split(':{t:')[0]!
  return {
    read: (ask: Omit<Parameters<typeof readUsage>[1], 'prefix'>) =>
      readUsage(database, { prefix, ...ask }, () => null),
    now: () => Date.parse('2026-11-30T12:00:00Z'),
  }
}

it('shows usage and budgets of all tenants to keys that read all, and to others their own', async () => {
  const limits = { budget_usd_per_day: 1 }
  const ask = await open({
    tenants: {
      acme: { keys: [acmeKey], limits },
      ops: { keys: [opsKey], limits, admin: true },
      viewers: { keys: [viewerKey], limits, admin: 'read' },
    },
  })
  const all = ['acme', 'ops', 'viewers']
  api!.deps.history.usage = await openUsage(api!, all)
  for (const path of ['/v1/usage?by=tenant', '/v1/budgets']) {
    const see = async (key: string, tenant?: string) => {
      const { body } = await ask(path, key, tenant === undefined ? {} : { tenant })
      return body.data.map((one: { tenant: string }) => one.tenant).sort()
    }
    expect(await see(acmeKey), path).toEqual(['acme'])
    for (const key of [opsKey, viewerKey]) {
      expect(await see(key), path).toEqual(all)
      expect(await see(key, 'acme'), `${path} of acme`).toEqual(['acme'])
    }
  }
})

it('says that an open service is one', async () => {
  const ask = await open()
  expect((await ask('/v1/caller', 'any')).body).toMatchObject({
    ...{ tenant: 'default', scopes: ['admin'], reads_all: true, open: true },
  })
})
