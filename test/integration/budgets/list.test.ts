import { beforeAll, describe, expect, it } from 'vitest'
import { createBudgets } from '../../../jobs/budget-usage.ts'
import { ALONE, createScripts } from '../../../jobs/scripts.ts'
import { createBudgetReader } from '../../../services/read-budgets.ts'
import { acmeKey, createTestApi, opsKey, type TestApi } from '../../helpers/api.ts'
import { testAtRest } from '../../helpers/encryption.ts'
import { parseSamples } from '../../helpers/metrics.ts'
import { openBudgetHouse } from './house.ts'

/** Each job is reserved at 0.001 USD: 100 tokens of output at 10 USD a million. */
const EACH = 0.001
const month = (usd: number) => ({ usd, per: 'month', time_zone: 'UTC' })

type Listed = {
  id: string
  tenant: string
  owner: string
  name: string | null
  label: string | null
  usd: number
  per: string
  spent_usd: number
  reserved_usd: number
}
type Page = { data: Listed[]; has_more: boolean; last_id: string | null }

describe('GET /v1/budgets', () => {
  let api: TestApi
  const key = {
    id: 'key_web',
    tenant: 'beta',
    name: 'web',
    digest: '',
    scopes: [],
    models: null,
    expiresAt: null,
  }

  beforeAll(async () => {
    api = await createTestApi({
      providers: {
        openai: {
          kind: 'openai-compatible',
          base_url: 'http://127.0.0.1:9/v1',
          models: { small: { price: { input: 0, output: 10 } } },
        },
      },
      tenants: {
        acme: {
          keys: [acmeKey],
          limits: { budget_usd_per_day: 7, budgets: [month(1), { usd: 2, per: 'week', time_zone: 'UTC' }] },
          per_fair_key: { budgets: [{ usd: 0.5, per: 'month', time_zone: 'UTC' }] },
        },
        beta: { keys: ['beta-key-0123456789'] },
        ops: { keys: [opsKey], admin: true },
      } as never,
    })
    // This process knows the keys that the API created.
    Object.assign(api.deps.tenants, { madeKeys: () => [{ ...key, budgets: [month(3)] }] })
    return () => api.close()
  })

  const ask = async (method: 'GET' | 'PUT' | 'POST' | 'DELETE', url: string, body?: object, as = acmeKey) => {
    const headers = { authorization: `Bearer ${as}` }
    return api.app.inject({ method, url, headers, ...(body === undefined ? {} : { payload: body }) })
  }
  const list = async (query: string, as?: string) =>
    (await ask('GET', `/v1/budgets${query}`, undefined, as)).json<Page>()
  const submit = async (members: object) => {
    const body = { model: 'openai/small', max_tokens: 100, messages: [{ role: 'user', content: 'x' }] }
    const made = await ask('POST', '/v1/jobs', { type: 'chat', cache: 'off', body, ...members })
    return made.json<{ id: string }>().id
  }

  it('shows a tenant its own budgets, with spending and reservations; an admin those of all, page by page', async () => {
    await ask('PUT', '/v1/groups/night/budget', { budgets: [{ usd: 5 }, { usd: 4, per: 'day' }] })
    await ask('PUT', '/v1/groups/a:b/budget', { usd: 6, per: 'month' })
    await ask('POST', '/v1/flows', {
      name: 'report',
      budget_usd: 0.25,
      steps: { wait: { wait_for_signal: {} } },
    })
    await api.worker.finish(await submit({ fair_key: 'ann', group: 'night' }), { costUsd: EACH / 2 })
    await submit({ fair_key: 'bob', group: 'night' })

    const own = (await list('')).data
    expect(own.map(({ owner, name, label, usd, per }) => [owner, name, label, usd, per])).toEqual([
      ['tenant', null, null, 7, 'day'],
      ['tenant', null, null, 1, 'month'],
      ['tenant', null, null, 2, 'week'],
      ['fair_key', expect.stringMatching(/^[\w-]{16}$/), null, 0.5, 'month'],
      ['group', 'a:b', null, 6, 'month'],
      ['group', 'night', null, 5, 'total'],
      ['group', 'night', null, 4, 'day'],
      ['flow', expect.stringMatching(/^flow_/), 'report', 0.25, 'total'],
    ])
    for (const one of own.filter(({ owner, name }) => owner === 'tenant' || name === 'night'))
      expect(one).toMatchObject({ tenant: 'acme', spent_usd: EACH / 2, reserved_usd: EACH })
    expect(own.find(({ owner }) => owner === 'fair_key')).toMatchObject({
      spent_usd: EACH / 2,
      reserved_usd: 0,
    })

    const all = (await list('', opsKey)).data
    expect(all.map(({ id }) => id).sort()).toEqual(
      [...own.map(({ id }) => id), all.find(({ tenant }) => tenant === 'beta')!.id].sort(),
    )
    expect(all.at(-1)).toMatchObject({ tenant: 'beta', owner: 'key', name: 'key_web', label: 'web', usd: 3 })
    for (const limit of [1, 2, 3, 8, 9]) {
      const paged: Listed[] = []
      let after = ''
      do {
        const page = await list(`?limit=${limit}${after}`, opsKey)
        expect(page.data.length).toBeLessThanOrEqual(limit)
        paged.push(...page.data)
        after = page.has_more ? `&after=${page.last_id}` : ''
      } while (after !== '')
      expect(paged).toEqual(all)
    }
    expect((await list('?owner=key')).data).toEqual([])
    expect((await list('?owner=group&limit=1')).data.map(({ name }) => name)).toEqual(['a:b'])
  })

  it('finds the budget of a fair key by its name, and lists the fair keys that spent most', async () => {
    for (const [name, cost] of [
      ['cat', 3],
      ['dan', 1],
      ['eve', 2],
    ] as const)
      await api.worker.finish(await submit({ fair_key: name }), { costUsd: cost * EACH })
    const one = async (name: string) => (await list(`?fair_key=${name}`)).data
    expect(await one('cat')).toMatchObject([{ owner: 'fair_key', usd: 0.5, spent_usd: 3 * EACH }])
    expect(await one('nobody')).toMatchObject([{ spent_usd: 0, reserved_usd: 0 }])
    const { start, end } = await windowOf()
    const ranked = await api.redis.zrevrange(`${api.root('acme')}:fair-key-costs:${start}:${end}`, 0, 2)
    const digests = await Promise.all(['cat', 'eve', 'dan'].map(async (name) => (await one(name))[0]!.name))
    expect(ranked).toEqual(digests)
  })

  it('looks through the created keys once, however many tenants are listed or measured', async () => {
    let looks = 0
    let reads = 0
    const { deps, config } = api
    const { budgets, stats: tenantStats, madeKeys } = deps.tenants
    const counted = () => {
      looks++
      return [...madeKeys(), { ...key, id: 'key_free' }]
    }
    const read: typeof budgets.read = (...asked) => {
      if (asked[1] === 'key') reads++
      return budgets.read(...asked)
    }
    const readBudgets = createBudgetReader({
      config: () => config,
      store: { budgets: { ...budgets, read }, tenantStats, now: Date.now },
      madeKeys: counted,
    })
    const told = await readBudgets(['acme', 'beta', 'ops', 'nobody'])
    expect(told.filter(({ owner }) => owner === 'key')).toMatchObject([
      { tenant: 'beta', per: 'month', limitUsd: 3 },
    ])
    // A key without a budget is not read.
    expect([looks, reads]).toEqual([1, 1])

    looks = 0
    Object.assign(deps.tenants, { madeKeys: counted })
    try {
      const { data } = await list('?owner=key', opsKey)
      expect(data).toMatchObject([{ tenant: 'beta', name: 'key_web', label: 'web', usd: 3 }])
      expect(looks).toBe(1)
    } finally {
      Object.assign(deps.tenants, { madeKeys })
    }
  })

  it.each([
    ['?owner=nobody', 'query.owner'],
    ['?after=x', 'query.after'],
    [`?after=${Buffer.from('["acme","nobody","",0]').toString('base64url')}`, 'query.after'],
    ['?limit=0', 'query.limit'],
    ['?fair_key=', 'query.fair_key'],
  ])('refuses %s, and names %s', async (query, param) => {
    const answer = await ask('GET', `/v1/budgets${query}`)
    expect(answer.statusCode).toBe(400)
    expect(answer.json().error).toMatchObject({ code: 'invalid_request', param })
  })

  it('limits how many groups have budgets', async () => {
    const { deps, redis } = api
    const { budgets } = deps.tenants
    const place = { redis, scripts: createScripts(redis, ALONE), rootOf: api.root, atRest: testAtRest() }
    deps.tenants.budgets = createBudgets({ ...place, now: Date.now, mostGroups: 2 })
    const as = 'beta-key-0123456789'
    const put = (group: string) => ask('PUT', `/v1/groups/${group}/budget`, { usd: 1 }, as)
    expect((await put('one')).statusCode).toBe(200)
    expect((await put('two')).statusCode).toBe(200)
    const refused = await put('three')
    expect([refused.statusCode, refused.json().error]).toEqual([
      422,
      expect.objectContaining({ code: 'too_many_budgets', param: 'group' }),
    ])
    expect((await put('two')).statusCode, 'it has one by now').toBe(200)
    await ask('DELETE', '/v1/groups/one/budget', undefined, as)
    expect((await put('three')).statusCode).toBe(200)
    // As if the group's latest job were 401 days old.
    await redis.del(`${api.root('beta')}:group-budget:two`)
    await redis.zadd(`${api.root('beta')}:group-budgets`, Date.now() - 401 * 86_400_000, 'two')
    expect((await put('four')).statusCode).toBe(200)
    expect((await put('five')).statusCode).toBe(422)
    deps.tenants.budgets = budgets
  })

  it('lists a group whose budgets a version without the list has set, once they were read', async () => {
    const as = 'beta-key-0123456789'
    const names = `${api.root('beta')}:group-budgets`
    const read = (path: string) => ask('GET', path, undefined, as)
    const listed = async () => (await list('?owner=group', as)).data.map(({ name }) => name)
    await ask('PUT', '/v1/groups/early/budget', { usd: 1 }, as)
    // Its latest job was taken a day ago.
    const key = `${api.root('beta')}:group-budget:early`
    await api.redis.pexpire(key, 399 * 86_400_000)
    for (const path of ['/v1/groups/early/budget', '/v1/groups/early']) {
      await api.redis.zrem(names, 'early')
      expect(await listed()).not.toContain('early')
      await read(path)
      expect(await listed(), path).toContain('early')
      const age = Date.now() - Number(await api.redis.zscore(names, 'early'))
      expect(Math.abs(age - 86_400_000)).toBeLessThan(60_000)
      expect(await api.redis.pttl(names)).toBeGreaterThan(399 * 86_400_000)
    }
    // A group without budgets gets no name.
    await ask('DELETE', '/v1/groups/early/budget', undefined, as)
    expect((await read('/v1/groups/early/budget')).statusCode).toBe(404)
    expect(await listed()).not.toContain('early')
  })

  /** The month, as in the key of the fair keys. */
  async function windowOf() {
    const { window_start, window_end } = (await list('?owner=fair_key')).data[0] as unknown as Record<
      string,
      string
    >
    return { start: Date.parse(window_start!), end: Date.parse(window_end!) }
  }
})

it('metrics show the fullest budget of each tenant, kind of owner and window', async () => {
  const house = await openBudgetHouse({
    price: { input: 0, output: 10 },
    budget: 0.01,
    limits: { budgets: [month(2), month(0.5)] },
  })
  house.upstream.script = (_call, response) => void response.writeHead(500).end()
  const held = await house.submit(
    'a',
    { max_tokens: 400 },
    { run_at: new Date(Date.now() + 3_600_000).toISOString() },
  )
  expect(held.status).toBe('scheduled')
  const { text } = await fetch(`${house.url}/metrics`, {
    headers: { authorization: `Bearer ${acmeKey}` },
  }).then(async (answer) => ({ text: await answer.text() }))
  const told = parseSamples(text).filter(({ name }) => name.startsWith('sluice_budget_'))
  const readValue = (name: string, per: string) =>
    told.find((one) => one.name === `sluice_budget_${name}` && one.labels.per === per)?.value
  expect(told.every(({ labels }) => labels.tenant === 'acme' && labels.owner === 'tenant')).toBe(true)
  expect([readValue('limit_usd', 'day'), readValue('limit_usd', 'month')]).toEqual([0.01, 0.5])
  expect([readValue('reserved_usd', 'day'), readValue('spent_usd', 'month')]).toEqual([0.004, 0])
  expect(readValue('used_ratio', 'day')).toBeCloseTo(0.4)
  expect(readValue('used_ratio', 'month')).toBeCloseTo(0.008, 6)
})
