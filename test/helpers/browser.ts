import { join } from 'node:path'
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core'
import { expect, onTestFinished } from 'vitest'
import { findBrowser } from '../../scripts/find-browser.ts'

const root = join(import.meta.dirname, '../..')

/** Plain JavaScript, which has no types. */
type Builder = {
  ensureDashboard(options: { root: string; node: string; log: (line: string) => void }): Promise<void>
}

/** Builds the dashboard unless the build is up to date: another test file may be using it. */
export async function buildDashboard(): Promise<void> {
  const builder = new URL('../../scripts/dashboard.mjs', import.meta.url).href
  const { ensureDashboard } = (await import(builder)) as Builder
  const said: string[] = []
  await ensureDashboard({ root, node: process.execPath, log: (line) => said.push(line) })
  const failure = said.find((line) => line.includes('could not be built'))
  if (failure !== undefined) throw new Error(failure)
}

/** Chromium, installed if the machine has none. Close it after the file's tests. */
export async function openBrowser(): Promise<Browser> {
  return chromium.launch({
    executablePath: await findBrowser({ log: (line) => console.error(line) }),
    // Its sandbox refuses root, and needs more than containers grant; it opens only our own page.
    args: ['--no-sandbox', '--disable-dev-shm-usage'],
  })
}

export type PageOptions = BrowserContextOptions & {
  /** Expected messages in the browser's log. */
  tolerated?: RegExp
}

/**
 * A page of a browser of its own. The test fails if the page logs an error or a warning (such as a breach of its
 * content security policy), throws, or asks another origin for anything.
 */
export async function openPage(browser: Browser, url: string, options: PageOptions = {}): Promise<Page> {
  const { tolerated, ...contextOptions } = options
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...contextOptions })
  // Shorter than the tests' own, so that a failure names what was waited for.
  context.setDefaultTimeout(15_000)
  const page = await context.newPage()
  const faults: string[] = []
  page.on('console', (message) => {
    const isFault = message.type() === 'error' || message.type() === 'warning'
    if (isFault && !tolerated?.test(message.text())) faults.push(message.text())
  })
  page.on('pageerror', (error) => faults.push(String(error)))
  page.on('request', (request) => {
    const { origin } = new URL(request.url())
    if (origin !== url && origin !== 'null') faults.push(`asked ${origin}`)
  })
  onTestFinished(async () => {
    await context.close()
    expect(faults).toEqual([])
  })
  return page
}
