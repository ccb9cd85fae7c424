import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

const HOUSE = join(import.meta.dirname, '../..')
/** The folders in which keys are named. */
const FOLDERS = ['jobs', 'files', 'batches', 'webhooks', 'ratelimit']

/**
 * Every word behind a colon in a text of the store's code: `:events` of `job:<id>:events`. New keys are found by
 * themselves.
 */
export function collectKeyWords(): string[] {
  const words = new Set<string>()
  for (const folder of FOLDERS) {
    const files = readdirSync(join(HOUSE, folder), { recursive: true, encoding: 'utf8' })
    for (const file of files.filter((name) => /\.(ts|lua)$/.test(name))) {
      const text = readFileSync(join(HOUSE, folder, file), 'utf8')
      for (const [literal] of text.matchAll(/'[^'\n]*'|`[^`\n]*`/g)) {
        for (const [, word] of literal.matchAll(/:([a-z][a-z_-]*)/g)) words.add(word!)
      }
    }
  }
  return [...words].sort()
}
