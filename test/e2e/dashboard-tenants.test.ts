import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { loadConfig } from '../../config/load.ts'
import type { Config } from '../../config/schema.ts'
import { tenantRoot } from '../../jobs/keys.ts'
import { closeRedis, createRedis } from '../../lib/redis.ts'
import { createWebhookStore } from '../../webhooks/store.ts'
import { buildDashboard, openBrowser, openPage } from '../helpers/browser.ts'
import { addAxe, lookOver } from '../helpers/look-over.ts'
import { testRedis } from '../helpers/redis.ts'
import { openServiceWorker, openTestService, placeService, type TestService } from '../helpers/service.ts'
import { chat as chatOf } from '../helpers/stack.ts'

const chat = (content: string, members = {}) => chatOf(content, members, { model: 'openai/small' })
const keyOf = (tenant: string) => `a-key-of-${tenant}-0123456789`

let browser: Browser

beforeAll(async () => {
  await buildDashboard()
  browser = await openBrowser()
}, 300_000)
afterAll(() => browser?.close())

/** A service with two ordinary tenants, an administrator and one who only looks. */
async function openHouse() {
  const text = JSON.stringify({
    ...placeService(testRedis()),
    providers: {
      openai: { kind: 'openai-compatible', base_url: 'http://127.0.0.1:1/v1', models: { small: {} } },
    },
    tenants: {
      acme: { keys: [keyOf('acme')] },
      birch: { keys: [keyOf('birch')] },
      ops: { keys: [keyOf('ops')], admin: true },
      viewers: { keys: [keyOf('viewers')], admin: 'read' },
    },
    webhooks: { secret: 'whsec_c2VjcmV0c2VjcmV0c2VjcmV0' },
  })
  const config = loadConfig({ path: 'sluice.yaml', text, env: {} })
  return { service: await openTestService(config), worker: openServiceWorker(config), config }
}

/** Opens a view, and enters the key. The browser logs every 401 itself. */
async function open(service: TestService, hash: string, tenant: string): Promise<Page> {
  const page = await openPage(browser, service.url, { tolerated: /status of 40[14]/, bypassCSP: true })
  await page.goto(`${service.url}/dashboard/${hash}`)
  await page.getByLabel('Admin key').fill(keyOf(tenant))
  await page.keyboard.press('Enter')
  await page.getByRole('link', { name: 'Jobs', exact: true }).waitFor()
  return page
}

test('an administrator searches and sorts the jobs of all tenants, and every search is an address', async () => {
  const { service, worker } = await openHouse()
  const submit = async (tenant: string, members: object = {}) =>
    (await service.submit(chat(`of ${tenant}`, { cache: 'off', ...members }), keyOf(tenant))).body
  const early = await submit('acme', { group: 'nightly', metadata: { user: '42' } })
  const dear = await submit('birch', { group: 'nightly' })
  const failed = await submit('birch', { metadata: { user: '43' } })
  await worker.finish(dear.id, { costUsd: 0.5 })
  await worker.finishFailed(failed.id, { code: 'bad_request', message: 'wrong' })

  const page = await open(service, '#/jobs', 'ops')
  const rows = page.getByRole('region', { name: 'Jobs' }).getByRole('row')
  const ids = async () => (await rows.getByRole('rowheader').allTextContents()).map((id) => id.slice(-6))
  const shown = (...jobs: { id: string }[]) => jobs.map(({ id }) => id.slice(-6))
  await expect.poll(ids).toEqual(shown(failed, dear, early))
  expect(await rows.nth(1).textContent()).toContain('birch')

  await page.getByRole('button', { name: 'Cost' }).click()
  await expect.poll(ids).toEqual(shown(dear, failed, early))
  expect(page.url()).toContain('sort=-cost')
  await page.getByRole('columnheader', { name: /Cost/ }).and(page.locator('[aria-sort=descending]')).waitFor()

  // By the keyboard alone.
  await page.getByLabel('Metadata').focus()
  await page.keyboard.type('user')
  await page.keyboard.press('Enter')
  await page.getByText('Write a pair as name=value').waitFor()
  await page.keyboard.type('=42')
  await page.keyboard.press('Enter')
  await expect.poll(ids).toEqual(shown(early))
  await page.getByRole('link', { name: 'Clear' }).click()
  await page.getByLabel('Error').selectOption('bad_request')
  await expect.poll(ids).toEqual(shown(failed))
  // A view can be shared by its address.
  const copy = await page.context().newPage()
  await copy.goto(page.url())
  await copy.getByRole('region', { name: 'Jobs' }).getByText('bad_request').waitFor()
  expect(await copy.getByRole('region', { name: 'Jobs' }).getByRole('rowheader').count()).toBe(1)
  await copy.close()

  const before = new Date(Date.parse(dear.created_at)).toISOString()
  await page.goto(`${service.url}/dashboard/#/jobs?to=${encodeURIComponent(before)}&group=nightly`)
  await expect.poll(ids).toEqual(Date.parse(early.created_at) < Date.parse(before) ? shown(early) : [])
  await page.getByRole('link', { name: 'Clear' }).click()
  await page.getByLabel('Tenant').selectOption('acme')
  await expect.poll(ids).toEqual(shown(early))

  // A job's link needs no tenant.
  await page.getByLabel('Open a job by its id').fill(failed.id)
  await page.keyboard.press('Enter')
  await page.getByRole('heading', { name: failed.id }).waitFor()
  expect(page.url()).toContain('tenant=birch')
  await page.goto(`${service.url}/dashboard/#/jobs/job_nothing`)
  await page.getByText('job_nothing is not known to any tenant').waitFor()

  await page.goto(`${service.url}/dashboard/#/jobs`)
  await expect.poll(ids).toHaveLength(3)
  await addAxe(page)
  expect(await lookOver(page, 'jobs')).toEqual([])
  await page.getByRole('button', { name: 'Cancel these…' }).click()
  await page.getByText('Those of all 4 tenants').waitFor()
  await page.getByRole('dialog').getByRole('button', { name: 'Cancel 1 job' }).click()
  await page.getByText('1 job cancelled.').waitFor()
  expect((await service.job(early.id, keyOf('acme'))).status).toBe('cancelled')
})

/** The place of the services of this configuration. */
function testPlace({ redis: { url, cluster, prefix } }: Config) {
  return { url: url ?? cluster![0]!, ...(cluster === undefined ? {} : { cluster }), prefix }
}

/** Buttons that change something; a search, a page turned or a file saved does not. */
const acting =
  /^(set a|pause|resume|cancel|redrive|try again|edit|forget…|send again|new (tenant|key)|delete|revoke|run now|go on|send)/i

async function findActing(page: Page): Promise<string[]> {
  const names = await page
    .getByRole('button')
    .evaluateAll((all) =>
      all.map(
        (one) =>
          (one as unknown as { ariaLabel: string | null; textContent: string }).ariaLabel ??
          (one as unknown as { textContent: string }).textContent,
      ),
    )
  return names.filter((name) => acting.test(name.trim()))
}

test('a key that may only look sees what an administrator sees, without a button that changes something', async () => {
  const { service, worker } = await openHouse()
  const { body: waiting } = await service.submit(chat('waits'), keyOf('acme'))
  const { body: failed } = await service.submit(chat('fails', { group: 'nightly' }), keyOf('birch'))
  await worker.finishFailed(failed.id)
  const views = {
    '#/': 'openai/small',
    '#/lanes/openai%2Fsmall': 'Breaker',
    '#/tenants': 'acme',
    '#/budgets': 'There are no budgets.',
    '#/groups': 'nightly',
    '#/jobs': waiting.id.slice(-6),
    '#/jobs?status=failed': failed.id.slice(-6),
    [`#/jobs/${waiting.id}`]: 'Facts',
    [`#/jobs/${failed.id}`]: 'Facts',
    '#/failures': 'Export',
    '#/flows': 'There are no flows.',
    '#/durable': 'There are no durable runs.',
    '#/schedules': 'There are no schedules.',
    '#/files': 'There are no files.',
    '#/webhooks': 'No webhook was sent yet.',
  }
  for (const [tenant, hasActing] of [
    ['ops', true],
    ['viewers', false],
  ] as const) {
    const page = await open(service, '', tenant)
    const found: string[] = []
    for (const [hash, text] of Object.entries(views)) {
      await page.goto(`${service.url}/dashboard/${hash}`)
      await page.locator('main').getByText(text).first().waitFor()
      found.push(...(await findActing(page)))
    }
    if (hasActing) expect(found.length).toBeGreaterThan(8)
    else expect(found).toEqual([])
    await page.context().close()
  }
})

test('the page of webhooks says which addresses fail and since when, and sends a delivery again by keys', async () => {
  const { service, worker, config } = await openHouse()
  const { prefix } = config.redis
  const redis = createRedis({ ...testPlace(config), role: 'commands', name: 'test-webhooks' })
  onTestFinished(() => closeRedis(redis))
  const webhooks = createWebhookStore({ redis, root: (tenant) => tenantRoot(prefix, tenant) })
  const end = async (tenant: string, url: string, status: number) => {
    const { body } = await service.submit(
      chat(`of ${tenant}`, { cache: 'off', webhook: { url } }),
      keyOf(tenant),
    )
    await worker.finish(body.id)
    const ask = { limit: 1, leaseMs: 60_000, offset: 0, perHost: 8, inHand: new Map() }
    const { claimed } = await webhooks.claimDue(tenant, ask)
    const attempt = {
      at: new Date().toISOString(),
      status,
      error: status < 300 ? null : `answered ${status}`,
      latency_ms: 5,
    }
    await webhooks.recordAttempt(claimed[0]!, attempt, { status: status < 300 ? 'delivered' : 'failed' })
    return body
  }
  await end('acme', 'https://good.example.com/hook', 204)
  const failed = await end('birch', 'https://bad.example.com/hook', 500)
  const page = await open(service, '#/webhooks', 'ops')
  const endpoints = page.getByRole('region', { name: 'Endpoints' }).getByRole('row')
  await expect.poll(() => endpoints.nth(1).textContent()).toMatch(/bad\.example\.com.*birch.*fails/)
  expect(await endpoints.nth(2).textContent()).toMatch(/good\.example\.com.*acme.*delivers/)
  const row = page.getByRole('region', { name: 'Deliveries that fail' }).getByRole('row').nth(1)
  expect(await row.textContent()).toMatch(/given up.*answered 500/)
  await addAxe(page)
  expect(await lookOver(page, 'webhooks')).toEqual([])
  await page.getByRole('combobox', { name: 'Deliveries' }).selectOption('pending')
  await page.getByText('No delivery is being retried.').waitFor()
  expect(page.url()).toContain('status=pending')
  await page.getByRole('combobox', { name: 'Deliveries' }).selectOption('')
  await page.getByRole('button', { name: `Send again job.completed of ${failed.id}` }).focus()
  await page.keyboard.press('Enter')
  await row.getByText('retrying').waitFor()
  await row.getByRole('link').click()
  await page.getByRole('heading', { name: failed.id }).waitFor()
})

test('a key of one tenant opens what that tenant has, and nothing else', async () => {
  const { service, worker } = await openHouse()
  const asOps = (path: string, body: object) =>
    service.call<{ secret: string }>('POST', path, { key: keyOf('ops'), body })
  await asOps('/v1/tenants', { name: 'shop' })
  const { body: write } = await asOps('/v1/tenants/shop/keys', { scopes: ['jobs'] })
  const { body: read } = await asOps('/v1/tenants/shop/keys', { scopes: ['read'] })
  const { body: metrics } = await asOps('/v1/tenants/shop/keys', { scopes: ['metrics'] })
  await service.submit(chat('of acme'), keyOf('acme'))
  const { body: job } = await service.submit(chat('of shop', { group: 'sale' }), write.secret)
  const { body: failed } = await service.submit(chat('fails', { group: 'sale' }), write.secret)
  await worker.finishFailed(failed.id)

  const page = await openPage(browser, service.url, { tolerated: /status of 40[13]/, bypassCSP: true })
  await page.goto(`${service.url}/dashboard/`)
  const enter = async (key: string) => {
    await page.getByLabel('Admin key').fill(key)
    await page.keyboard.press('Enter')
  }
  await enter(metrics.secret)
  await page.getByText('it may read nothing here').waitFor()
  await enter(read.secret)
  await page.getByRole('link', { name: 'In progress' }).waitFor()
  expect(await page.getByRole('link', { name: 'Tenants' }).count()).toBe(0)
  expect(await page.getByText('acme').count()).toBe(0)
  await page.getByRole('link', { name: 'Jobs', exact: true }).click()
  await page.getByRole('link', { name: job.id.slice(-6) }).waitFor()
  expect(await page.getByRole('region', { name: 'Jobs' }).getByRole('rowheader').count()).toBe(2)
  await addAxe(page)
  for (const [hash, text] of [
    ['#/', 'In progress'],
    ['#/jobs', job.id.slice(-6)],
    [`#/jobs/${failed.id}`, 'Facts'],
    ['#/groups', 'sale'],
    ['#/failures', 'Export'],
    ['#/durable', 'There are no durable runs.'],
    ['#/files', 'There are no files.'],
  ] as const) {
    await page.goto(`${service.url}/dashboard/${hash}`)
    await page.locator('main').getByText(text).first().waitFor()
    expect(await findActing(page), hash).toEqual([])
    if (hash === '#/' || hash === '#/groups') expect(await lookOver(page, hash)).toEqual([])
  }
  // The same tenant with a key that may act.
  await page.getByRole('button', { name: 'Forget key' }).click()
  await enter(write.secret)
  await page.goto(`${service.url}/dashboard/#/jobs/${job.id}`)
  await page.getByRole('button', { name: 'Cancel…' }).click()
  await page.getByRole('dialog').getByRole('button', { name: 'Cancel the job' }).click()
  await page.locator('.page-head').getByText('cancelled').waitFor()
})

test('the tabs of a browser share the key until it is removed or the last of them closes', async () => {
  const { service } = await openHouse()
  const first = await open(service, '', 'ops')
  const context = first.context()
  const address = `${service.url}/dashboard/#/jobs`
  const jobsOf = (page: Page) => page.getByText('There are no jobs.')
  const second = await context.newPage()
  await second.goto(address)
  await jobsOf(second).waitFor()
  // It outlives the tab in which it was entered, and is stored only in the tabs.
  await first.close()
  const third = await context.newPage()
  await third.goto(address)
  await jobsOf(third).waitFor()
  expect(await third.evaluate<string>('JSON.stringify(localStorage) + document.cookie')).not.toContain(
    keyOf('ops'),
  )
  await second.getByRole('button', { name: 'Forget key' }).click()
  for (const page of [second, third]) await page.getByLabel('Admin key').waitFor()
  await third.reload()
  await third.getByLabel('Admin key').fill(keyOf('ops'))
  await third.keyboard.press('Enter')
  await jobsOf(third).waitFor()
  await Promise.all([second.close(), third.close()])
  const later = await context.newPage()
  await later.goto(address)
  await later.getByLabel('Admin key').waitFor()
  onTestFinished(() => later.close())
})
