import { globSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../../..', import.meta.url))

/** Folders without product code for the server. */
const OTHERS =
  /^(test|bench|scripts|dashboard|examples|client|clients|docs|site|node_modules|deploy|monitoring)\//

/** The TypeScript files of the product, by their paths. */
export function readProductFiles(): Map<string, string> {
  const paths = globSync('**/*.ts', { cwd: root, exclude: (path) => path.includes('node_modules') })
  const own = paths.filter((path) => !OTHERS.test(path) && path !== 'vitest.config.ts').sort()
  return new Map(own.map((path) => [path, readFileSync(`${root}/${path}`, 'utf8')]))
}
