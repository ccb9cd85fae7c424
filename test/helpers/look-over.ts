import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import type { Page } from 'playwright-core'

type AxeResult = { violations: { id: string; impact: string; nodes: { html: string }[] }[] }

/** Loads axe into the page, which must be open with `bypassCSP`, or before its policy matters. */
export async function addAxe(page: Page): Promise<void> {
  await page.evaluate(await readFile(fileURLToPath(import.meta.resolve('axe-core/axe.min.js')), 'utf8'))
}

const allRules = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']
/** Rules that depend on colours and places; the other rules find the same in every look of the page. */
const rulesOfLooks = ['color-contrast', 'link-in-text-block', 'target-size', 'scrollable-region-focusable']

/** Serious and critical faults that axe finds on the page as it is. */
export function findFaults(page: Page): Promise<string[]> {
  return runAxe(page, { type: 'tag', values: allRules })
}

async function runAxe(
  page: Page,
  runOnly: { type: 'tag' | 'rule'; values: readonly string[] },
  context = 'document',
): Promise<string[]> {
  const options = JSON.stringify({ resultTypes: ['violations'], runOnly })
  const { violations } = await page.evaluate<AxeResult>(`axe.run(${context}, ${options})`)
  return violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 160)).join(' | ')}`)
}

/** The four ways in which a page is looked at. The first of each width is looked at by all rules. */
const ways = [
  [1440, 'light', true],
  [1440, 'dark', false],
  [390, 'dark', true],
  [390, 'light', false],
] as const

/**
 * The open dialog: what axe finds in it, by all rules wide and light, and by those of looks narrow and dark; and what of it
 * is out of its place. A dialog has the same words in the same places in the other two ways.
 */
export async function lookOverDialog(page: Page, name: string): Promise<string[]> {
  const found: string[] = []
  for (const [width, colorScheme, rules] of [
    [1440, 'light', { type: 'tag', values: allRules }],
    [390, 'dark', { type: 'rule', values: rulesOfLooks }],
  ] as const) {
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' })
    await page.setViewportSize({ width, height: 900 })
    const faults = await runAxe(page, rules, "document.querySelector('dialog[open]')")
    const wide = await page.evaluate<string[]>(findMisplaced)
    found.push(...[...faults, ...wide].map((fault) => `${name} ${colorScheme} ${width}: ${fault}`))
  }
  return found
}

/** Runs in the page: what of the open dialog is not seen at first, or does not stand where it does in other dialogs. */
const findMisplaced = `(() => {
  const dialog = document.querySelector('dialog[open]')
  const { left, right } = dialog.getBoundingClientRect()
  const found = left < 0 || right > innerWidth ? ['the dialog is wider than the screen'] : []
  if (dialog.scrollWidth > dialog.clientWidth) found.push('the dialog scrolls to the side')
  for (const one of dialog.querySelectorAll('h2, p, label')) {
    if (!/start|left/.test(getComputedStyle(one).textAlign)) found.push('its words stand at the right')
  }
  const buttons = dialog.querySelector('form > .buttons')
  if (getComputedStyle(buttons).justifyContent !== 'flex-end') found.push('its buttons stand at the left')
  if ([...dialog.querySelectorAll('textarea')].some((one) => one.scrollTop > 0)) found.push('a text is not seen from its beginning')
  return found
})()`

/**
 * Looks at the page wide and narrow, light and dark. It lists what axe finds, where the page is wider than the screen
 * (down to 360 pixels), and tables that are not shown as cards, except for small ones that fit.
 */
export async function lookOver(page: Page, name: string): Promise<string[]> {
  const found: string[] = []
  const findWide = async (width: number) => {
    // Charts take the width of their places a frame later.
    const wide = await page.evaluate<number>(
      'new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(document.documentElement.scrollWidth))))',
    )
    if (wide > width) found.push(`${name} is ${wide} wide on ${width}`)
  }
  for (const [width, colorScheme, isFirst] of ways) {
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' })
    await page.setViewportSize({ width, height: 900 })
    // An element below the fixed head is not a target at that moment.
    await page.evaluate('scrollTo(0, 0)')
    const faults = isFirst ? findFaults(page) : runAxe(page, { type: 'rule', values: rulesOfLooks })
    found.push(...(await faults).map((fault) => `${name} ${colorScheme} ${width}: ${fault}`))
    if (isFirst) await findWide(width)
  }
  const uncarded = await page.evaluate<number>(
    "[...document.querySelectorAll('main table:not(.tight) tbody tr')].filter((row) => getComputedStyle(row).display !== 'block').length",
  )
  if (uncarded > 0) found.push(`${name} has ${uncarded} rows that are no cards on 390`)
  await page.setViewportSize({ width: 360, height: 900 })
  await findWide(360)
  await page.setViewportSize({ width: 1440, height: 900 })
  return found
}
