import { randomBytes } from 'node:crypto'
import { chmod, mkdir, readFile, realpath, rename, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { shownWhole } from './describe-error.ts'

/** The folder of a store cannot be closed to other users. */
class OpenFolderError extends Error {
  override readonly name = 'OpenFolderError'
  readonly [shownWhole] = true
}

/**
 * Creates a folder that only its owner can read, or closes an existing one. Returns its real path. Throws if others could still read it.
 */
export async function makePrivateFolder(folder: string): Promise<string> {
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const path = await realpath(folder)
  if (process.platform === 'win32' || ((await stat(path)).mode & 0o077) === 0) return path
  try {
    await chmod(path, 0o700)
  } catch {
    throw new OpenFolderError(
      `${path} can be read by other users of this machine, and is not this user's to close. Do: chmod 700 ${path}`,
    )
  }
  return path
}

const passwordLine = /^requirepass ([0-9a-f]{64})\n$/

/**
 * Returns the password of the server in a private folder, and the configuration file that gives it to the server. Nobody else can read the
 * file; on a command line every user of the machine could see the password. An existing password is kept, so that clients find a restarted
 * server.
 */
export async function keepPassword(folder: string): Promise<{ password: string; file: string }> {
  const file = join(folder, 'password.conf')
  const kept = await readFile(file, 'utf8').catch(() => '')
  const isPrivate = kept !== '' && ((await stat(file)).mode & 0o077) === 0
  const known = passwordLine.exec(kept)?.[1]
  if (known !== undefined && isPrivate) return { password: known, file }
  const password = randomBytes(32).toString('hex')
  const next = `${file}.${process.pid}`
  await writeFile(next, `requirepass ${password}\n`, { mode: 0o600 })
  await rename(next, file)
  return { password, file }
}
