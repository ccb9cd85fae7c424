import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import type { Page } from 'playwright-core'

type AxeResult = { violations: { id: string; impact: string; nodes: { html: string }[] }[] }

/** Loads axe into the page, which has to have been opened with `bypassCSP`, or before its policy matters. */
export async function addAxe(page: Page): Promise<void> {
  await page.evaluate(await readFile(fileURLToPath(import.meta.resolve('axe-core/axe.min.js')), 'utf8'))
}

/** What axe finds that is serious or critical, as the page stands. */
export async function findFaults(page: Page): Promise<string[]> {
  const { violations } = await page.evaluate<AxeResult>(
    "axe.run(document, { resultTypes: ['violations'], runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] })",
  )
  return violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 160)).join(' | ')}`)
}

/** The page light and wide, dark and narrow: what axe finds, where it is wider than the screen, and where tables are no cards. */
export async function lookOver(page: Page, name: string): Promise<string[]> {
  const found: string[] = []
  for (const [colorScheme, width] of [
    ['light', 1440],
    ['dark', 390],
  ] as const) {
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' })
    await page.setViewportSize({ width, height: 900 })
    // What the head covers is no target at that moment.
    await page.evaluate('scrollTo(0, 0)')
    found.push(...(await findFaults(page)).map((fault) => `${name} ${colorScheme} ${width}: ${fault}`))
    const wide = await page.evaluate<number>('document.documentElement.scrollWidth')
    if (wide > width) found.push(`${name} is ${wide} wide on ${width}`)
    if (width > 390) continue
    const uncarded = await page.evaluate<number>(
      "[...document.querySelectorAll('main table tbody tr')].filter((row) => getComputedStyle(row).display !== 'block').length",
    )
    if (uncarded > 0) found.push(`${name} has ${uncarded} rows that are no cards on ${width}`)
  }
  await page.setViewportSize({ width: 1440, height: 900 })
  return found
}
