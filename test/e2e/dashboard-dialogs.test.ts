import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { loadConfig } from '../../config/load.ts'
import { buildDashboard, openBrowser, openPage } from '../helpers/browser.ts'
import { addAxe, lookOver, lookOverDialog } from '../helpers/look-over.ts'
import { testRedis } from '../helpers/redis.ts'
import { openServiceWorker, openTestService, placeService } from '../helpers/service.ts'
import { chat as chatOf } from '../helpers/stack.ts'

const keys = { acme: 'a-key-of-acme-0123456789', ops: 'a-key-of-the-operators-0123456789' }
/** Longer than a phone is wide. */
const LONG = 'a-rather-long-name-that-a-client-chose-for-what-it-does-every-night'

const chat = (content: string, members = {}) =>
  chatOf(content, { cache: 'off', ...members }, { model: 'openai/small' })

let browser: Browser

beforeAll(async () => {
  await buildDashboard()
  browser = await openBrowser()
}, 300_000)
afterAll(() => browser?.close())

/** A service in which there is something of everything that can be asked about. */
async function openFullHouse() {
  const price = { input: 0, output: 10 }
  const text = JSON.stringify({
    ...placeService(testRedis()),
    providers: {
      openai: {
        ...{ kind: 'openai-compatible', base_url: 'http://127.0.0.1:1/v1' },
        models: { small: { price } },
      },
    },
    tenants: {
      acme: {
        keys: [keys.acme],
        limits: {
          budget_usd_per_day: 4,
          budgets: [{ usd: 1, per: 'month', time_zone: 'Europe/Berlin' }],
        },
      },
      ops: { keys: [keys.ops], admin: true },
    },
  })
  const config = loadConfig({ path: 'sluice.yaml', text, env: {} })
  const service = await openTestService(config)
  const worker = openServiceWorker(config)
  const call = async (method: string, path: string, body?: unknown, key = keys.acme) => {
    const answer = await service.call<{ id: string }>(method, path, { key, body })
    if (answer.status >= 300) throw new Error(`${path}: ${answer.status} ${JSON.stringify(answer.body)}`)
    return answer.body
  }
  const cron = { cron: '0 3 * * *', time_zone: 'Europe/Berlin', job: chat('again') }
  const [failed, , { id: schedule }] = await Promise.all([
    call('POST', '/v1/jobs', chat('fails')),
    call('POST', '/v1/jobs', chat('waits', { group: LONG, run_at: new Date(Date.now() + 86_400_000) })),
    call('POST', '/v1/schedules', { name: LONG, ...cron }),
    call('POST', '/v1/schedules', { name: 'resting', ...cron, paused: true }),
    call('PUT', `/v1/groups/${LONG}/budget`, { usd: 2.5, per: 'day' }),
    call('PUT', `/v1/durable/${LONG}/steps/${LONG}`, { signal: {} }),
    call('POST', '/v1/tenants', { name: 'shop' }, keys.ops),
  ])
  await Promise.all([worker.finishFailed(failed.id), call('POST', `/v1/schedules/${schedule}/run`)])
  const form = new FormData()
  form.append('purpose', 'user_data')
  form.append('file', new Blob(['a note']), `${LONG}.txt`)
  const headers = { authorization: `Bearer ${keys.acme}` }
  expect((await fetch(`${service.url}/v1/files`, { method: 'POST', headers, body: form })).status).toBe(200)
  return { service, failed: failed.id }
}

test('no dialog has a fault that axe finds, or is wider than its place; nor have budgets and schedules', async () => {
  const { service, failed } = await openFullHouse()
  const page = await openPage(browser, service.url, { tolerated: /status of 401/, bypassCSP: true })
  await page.goto(`${service.url}/dashboard/`)
  await page.getByLabel('Admin key').fill(keys.ops)
  await page.keyboard.press('Enter')
  await page.getByRole('link', { name: 'Jobs', exact: true }).waitFor()
  await addAxe(page)
  const found: string[] = []
  /** Views, and the buttons of each that ask for more than a yes. The last one is for all that ask for no more. */
  const views: [hash: string, ...buttons: string[]][] = [
    ['#/', 'Pause openai/small'],
    ['#/tenants', 'New key of shop'],
    ['#/budgets', 'Set a group’s budget', `Change the budget of group ${LONG}`],
    ['#/schedules', `Edit ${LONG}`, `History ${LONG}`],
    ['#/jobs?tenant=acme', 'Cancel these…'],
    [`#/jobs/${failed}?tenant=acme`, 'Edit and send…'],
    [`#/durable/${LONG}?tenant=acme`, `Send ${LONG} its signal`],
    ['#/failures', 'Redrive boom, openai/small, acme'],
    ['#/files', `Delete ${LONG}.txt`],
  ]
  for (const [hash, ...buttons] of views) {
    await page.goto(`${service.url}/dashboard/${hash}`)
    for (const name of buttons) {
      await page.getByRole('button', { name, exact: true }).first().click()
      await page.locator('dialog[open]').waitFor()
      found.push(...(await lookOverDialog(page, name)))
      await page.keyboard.press('Escape')
      await page.locator('dialog[open]').waitFor({ state: 'detached' })
    }
    if (hash === '#/budgets' || hash === '#/schedules') found.push(...(await lookOver(page, hash)))
  }
  expect(found).toEqual([])
}, 60_000)
