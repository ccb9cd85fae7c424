import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'

/** Installed folders, which no break changes. */
const LINKED = ['node_modules', 'test/clients/node_modules']

/**
 * Copies all files that Git knows in the checkout, in their current state, into a folder of its own, and links what
 * is installed.
 */
export function copyCheckout(root: string): { directory: string; remove(): void } {
  const directory = mkdtempSync(join(tmpdir(), 'sluice-mutate-'))
  for (const path of listFiles(root)) {
    const target = join(directory, path)
    mkdirSync(dirname(target), { recursive: true })
    cpSync(join(root, path), target)
  }
  for (const path of LINKED)
    if (existsSync(join(root, path))) symlinkSync(join(root, path), join(directory, path))
  return { directory, remove: () => rmSync(directory, { recursive: true, force: true }) }
}

function listFiles(root: string): string[] {
  const args = ['ls-files', '-z', '--cached', '--others', '--exclude-standard']
  const { status, stdout, stderr } = spawnSync('git', args, { cwd: root, maxBuffer: 2 ** 26 })
  if (status !== 0) throw new Error(`git ls-files: ${stderr}`)
  return stdout
    .toString()
    .split('\0')
    .filter((path) => path !== '' && existsSync(join(root, path)))
}
