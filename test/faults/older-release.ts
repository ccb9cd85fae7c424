import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { RUN_VARIABLE } from '../helpers/run-processes.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

/**
 * Puts the program as it was at a revision into a folder of its own, with the packages of this checkout.
 *
 * @throws Error when Git does not know the revision, as in a shallow clone
 */
export function checkOutRelease(revision: string): { directory: string; commit: string; remove(): void } {
  const commit = git('rev-parse', '--short', `${revision}^{commit}`).toString().trim()
  const archive = git('archive', commit)
  const directory = mkdtempSync(join(process.env[RUN_VARIABLE] ?? tmpdir(), 'sluice-release-'))
  const remove = () => rmSync(directory, { recursive: true, force: true })
  const { status, stderr } = spawnSync('tar', ['-x', '-C', directory], { input: archive })
  if (status !== 0) {
    remove()
    throw new Error(`tar: ${stderr}`)
  }
  symlinkSync(join(root, 'node_modules'), join(directory, 'node_modules'))
  return { directory, commit, remove }
}

function git(...args: string[]): Buffer {
  const { status, stdout, stderr } = spawnSync('git', args, { cwd: root, maxBuffer: 2 ** 28 })
  if (status !== 0) throw new Error(`git ${args.join(' ')}: ${stderr}`)
  return stdout
}
