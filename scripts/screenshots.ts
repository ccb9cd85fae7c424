/**
 * Takes the pictures of the dashboard in docs/images: starts a small installation with simulated providers, lets three tenants keep
 * it busy for a minute and a half, and looks at it in Chromium, light and dark.
 *
 *   npm run screenshots
 *   npm run screenshots -- --out /tmp/pictures --seconds 20
 *   npm run screenshots -- --storm --out /tmp/pictures     the overview in an outage, at 3, 41 and 200 lanes
 */
import { mkdir, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { chromium, type Page } from 'playwright-core'
import { findBrowser } from './find-browser.ts'
import { repackPng } from './screenshots/repack-png.ts'
import { keys, startStack } from './screenshots/stack.ts'
import { listModels, makeStorm, stormSizes } from './screenshots/storm.ts'
import { askQuestion, makeTraffic } from './screenshots/traffic.ts'

const { values } = parseArgs({
  options: {
    out: { type: 'string', default: join(import.meta.dirname, '../docs/images') },
    /** How long the page watches before the first picture: a chart shows at least a minute. */
    seconds: { type: 'string', default: '75' },
    storm: { type: 'boolean', default: false },
  },
})

const browser = await chromium.launch({
  executablePath: await findBrowser({ log: console.log }),
  args: ['--no-sandbox'],
})
try {
  await mkdir(values.out, { recursive: true })
  if (values.storm) for (const lanes of stormSizes) await takeStorm(lanes)
  else await takeUsual()
} finally {
  await browser.close()
}

async function openOverview(url: string, height: number): Promise<Page> {
  const page = await browser.newPage({
    viewport: { width: values.storm ? 1440 : 1280, height },
    deviceScaleFactor: 1,
    reducedMotion: 'reduce',
    locale: 'en-GB',
  })
  await page.goto(`${url}/dashboard/`)
  await page.getByLabel('Admin key').fill(keys.ops)
  await page.getByRole('button', { name: 'Open' }).click()
  await page.getByRole('heading', { name: 'Lanes' }).waitFor()
  return page
}

/** What an operator sees within the first screen when a provider is down. */
async function takeStorm(lanes: number): Promise<void> {
  const stack = await startStack(listModels(lanes))
  try {
    await makeStorm(stack.url, lanes)
    const page = await openOverview(stack.url, 900)
    await page.getByText('provider down').first().waitFor({ timeout: 60_000 })
    await page.waitForTimeout(Math.min(Number(values.seconds), 20) * 1_000)
    await take(page, `storm-${lanes}`)
    await page.close()
  } finally {
    await stack.close()
  }
}

async function takeUsual(): Promise<void> {
  const receiver = createServer((_request, response) => response.writeHead(204).end())
  receiver.listen(0, '127.0.0.1')
  const stack = await startStack()
  const stopping = new AbortController()
  try {
    const page = await openOverview(stack.url, 800)
    const traffic = makeTraffic(stack.url, stopping.signal).catch((error: unknown) => {
      if (!stopping.signal.aborted) throw error
    })
    await Promise.race([traffic, page.waitForTimeout(Number(values.seconds) * 1_000)])
    await take(page, 'overview')

    await page.goto(`${stack.url}/dashboard/#/failures`)
    await page.getByRole('heading', { name: 'Failures' }).waitFor()
    await take(page, 'failures')

    const { port } = receiver.address() as AddressInfo
    const id = await askQuestion(stack.url, `http://127.0.0.1:${port}/hooks/sluice`)
    await page.goto(`${stack.url}/dashboard/#/jobs/${id}?tenant=acme`)
    await page.getByText('as it comes').waitFor({ timeout: 60_000 })
    await page.waitForTimeout(1_200)
    await take(page, 'job')
  } finally {
    stopping.abort()
    await stack.close()
    receiver.close()
  }
}

async function take(page: Page, name: string): Promise<void> {
  await page.mouse.move(0, 0)
  for (const colorScheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme })
    // Until the charts are drawn in the new colours.
    await page.waitForTimeout(300)
    const path = join(values.out, `${name}-${colorScheme}.png`)
    await writeFile(path, repackPng(await page.screenshot()))
    console.log(path)
  }
  await page.emulateMedia({ colorScheme: 'light' })
}
