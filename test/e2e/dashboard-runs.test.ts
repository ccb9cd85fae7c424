import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { loadConfig } from '../../config/load.ts'
import { buildDashboard, openBrowser, openPage } from '../helpers/browser.ts'
import { addAxe, findFaults, lookOver } from '../helpers/look-over.ts'
import { testRedis } from '../helpers/redis.ts'
import { openServiceWorker, openTestService, placeService } from '../helpers/service.ts'
import { chat as chatOf } from '../helpers/stack.ts'

const chat = (content: string, members = {}) =>
  chatOf(content, { cache: 'off', ...members }, { model: 'openai/small' })
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
  })
  const config = loadConfig({ path: 'sluice.yaml', text, env: {} })
  const service = await openTestService(config)
  const pathOf = (run: string) => `/v1/durable/${encodeURIComponent(run)}`
  return {
    service,
    worker: openServiceWorker(config),
    run: (tenant: string, id: string) =>
      service.call<{ steps: { name: string; status: string }[] }>('GET', pathOf(id), { key: keyOf(tenant) }),
    /** Begins a step, and answers the id of its job. */
    async begin(tenant: string, id: string, name: string, step: object): Promise<string> {
      const { body } = await service.call<{ job: { id: string } | null }>(
        'PUT',
        `${pathOf(id)}/steps/${encodeURIComponent(name)}`,
        { key: keyOf(tenant), body: step },
      )
      return body.job?.id ?? ''
    },
    async open(hash: string, tenant: string) {
      const page = await openPage(browser, service.url, { tolerated: /status of 40[149]/, bypassCSP: true })
      await page.goto(`${service.url}/dashboard/${hash}`)
      await page.getByLabel('Admin key').fill(keyOf(tenant))
      await page.keyboard.press('Enter')
      await page.getByRole('link', { name: 'Jobs', exact: true }).waitFor()
      return page
    },
  }
}

test('a durable run is listed, watched step by step, given its signal by keys alone, and deleted', async () => {
  const { service, worker, run, begin, open } = await openHouse()
  await begin('birch', 'other', 'nap', { sleep_ms: 0 })
  const id = 'report/1 <b>'
  const first = await begin('acme', id, 'outline', { job: chat('outline') })
  const page = await open('#/durable', 'ops')
  const runs = page.getByRole('region', { name: 'Durable runs' })
  await runs.getByRole('link', { name: 'other' }).waitFor()
  await addAxe(page)
  expect(await findFaults(page)).toEqual([])
  await page.getByLabel('Tenant').selectOption('acme')
  await runs.getByRole('link', { name: 'other' }).waitFor({ state: 'detached' })
  expect(page.url()).toContain('tenant=acme')
  await runs.getByRole('link', { name: id }).focus()
  await page.keyboard.press('Enter')

  // Its steps as they begin and end.
  const head = page.locator('.page-head')
  await head.getByText('waits for a job').waitFor()
  await worker.finish(first)
  await page.getByRole('row', { name: /outline job completed/ }).waitFor()
  // Sleeps and signals have no events: they are seen with the next event of a job, or after 3 s.
  await begin('acme', id, 'nap', { sleep_ms: 0 })
  await begin('acme', id, 'approval', { signal: { timeout_ms: 3_600_000 } })
  const failing = await begin('acme', id, 'chapter 1', { job: chat('chapter') })
  await worker.finishFailed(failing)
  await page.getByRole('row', { name: /chapter 1 job failed/ }).waitFor()
  await head.getByText('waits for a signal').waitFor()
  await page.getByText('4 steps: 1 waiting, 2 completed, 1 failed.').waitFor()
  expect(await page.locator('main b, main th b').count()).toBe(0)
  expect(await lookOver(page, 'a durable run')).toEqual([])
  await page.getByLabel('State').selectOption('failed')
  expect(await page.getByRole('region', { name: 'Steps' }).getByRole('rowheader').allTextContents()).toEqual([
    'chapter 1',
  ])
  await page.getByLabel('State').selectOption('')

  // By keys alone: what is no JSON is not sent.
  await page.getByRole('button', { name: 'Send approval its signal' }).focus()
  await page.keyboard.press('Enter')
  const dialog = page.getByRole('dialog', { name: 'Send approval its signal?' })
  const value = dialog.getByLabel('Value, as JSON')
  await value.fill('{"ok": yes}')
  await dialog.getByRole('button', { name: 'Send the signal' }).press('Enter')
  await dialog.getByRole('alert').getByText('This is not JSON').waitFor()
  await value.fill('{"ok": true, "amount": 12345678901234567890}')
  await dialog.getByRole('button', { name: 'Send the signal' }).press('Enter')
  await page.getByText('approval got its signal.').waitFor()
  await page.getByRole('row', { name: /approval signal completed/ }).waitFor()
  await head.getByText('no step is open').waitFor()
  const stepPath = `/v1/durable/${encodeURIComponent(id)}/steps/approval`
  const answer = await fetch(`${service.url}${stepPath}`, {
    headers: { authorization: `Bearer ${keyOf('acme')}` },
  })
  expect(await answer.text()).toContain('"amount": 12345678901234567890')

  // To the job of a step, and back to its run.
  await page.getByRole('link', { name: 'job of chapter 1' }).click()
  await page.getByRole('heading', { name: failing }).waitFor()
  await page.getByRole('link', { name: id }).click()
  await page.getByRole('button', { name: 'Delete…' }).click()
  await page.getByRole('dialog').getByRole('button', { name: 'Delete the run' }).click()
  await page.getByText('There are no durable runs.').waitFor()
  expect((await run('acme', id)).status).toBe(404)
  await page.goBack()
  await page.getByRole('heading', { name: 'There is no such run' }).waitFor()

  // Who only looks sees it without a button that changes something.
  await begin('birch', 'other', 'approval', { signal: {} })
  await page.getByRole('button', { name: 'Forget key' }).click()
  await page.getByLabel('Admin key').fill(keyOf('viewers'))
  await page.keyboard.press('Enter')
  await page.getByRole('link', { name: 'Durable runs', exact: true }).click()
  await runs.getByRole('link', { name: 'other' }).click()
  await page.getByRole('row', { name: /approval signal waiting/ }).waitFor()
  expect(await page.getByRole('main').getByRole('button').allTextContents()).toEqual([])
}, 60_000)
