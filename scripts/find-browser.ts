import { access, constants } from 'node:fs/promises'
import { delimiter } from 'node:path'
import {
  findFirst,
  findManager,
  planPackage,
  readPrivilege,
  runPlan,
} from '../embedded-redis/system-package.ts'

/** Chromium under the names that systems give it, and what is made of it. */
const BROWSERS = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable']

const USUAL_FOLDERS = ['/usr/local/bin', '/usr/bin', '/opt/homebrew/bin', '/snap/bin']
const MACOS_CHROME = '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome'

/**
 * The path of a Chromium: the one that CHROMIUM_PATH names, else one on this machine, else one that its package
 * manager installs. If there is none, it throws an Error that says what to do.
 */
export async function findBrowser({ log }: { log: (line: string) => void }): Promise<string> {
  const named = process.env.CHROMIUM_PATH
  if (named) return named
  const folders = [...(process.env.PATH ?? '').split(delimiter), ...USUAL_FOLDERS]
  const present = (await findFirst(folders, BROWSERS)) ?? (await findOnMacos())
  if (present !== null) return present

  const plan = planPackage(await findManager(folders), await readPrivilege(), {
    'apt-get': ['chromium'],
    brew: ['--cask', 'chromium'],
    apk: ['chromium'],
    dnf: ['chromium'],
  })
  if (plan === null) throw new Error(explainMissing())
  log(`no Chromium on this machine; installing one with ${plan.manager}`)
  const failure = await runPlan(plan)
  // Looks even after a failure: another process may have installed it at the same time.
  const installed = await findFirst(folders, BROWSERS)
  if (installed === null) throw new Error(explainMissing(failure ?? `${plan.manager} installed no browser`))
  return installed
}

async function findOnMacos(): Promise<string | null> {
  return access(MACOS_CHROME, constants.X_OK).then(
    () => MACOS_CHROME,
    () => null,
  )
}

function explainMissing(failure?: string): string {
  return [
    'There is no Chromium on this machine, and it could not be installed',
    failure === undefined ? '. ' : ` (${failure}). `,
    'Either install one (Debian: sudo apt-get install chromium; macOS: brew install --cask chromium; Alpine: apk add ',
    'chromium; Fedora: dnf install chromium), or name one: CHROMIUM_PATH=/path/of/chromium.',
  ].join('')
}
