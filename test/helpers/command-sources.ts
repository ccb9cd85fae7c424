import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../..', import.meta.url))

/**
 * The source text that names every command which talks to a server or reads files for one, and every option of one.
 */
export function readCommandSources(): string {
  const paths = ['cli/program.ts', 'cli/options.ts', ...globSync('cli/commands/*.ts', { cwd: root })]
  return paths.map((path) => readFileSync(join(root, path), 'utf8')).join('\n')
}
