// One process at a time. Plain JavaScript on Node 18 or newer without packages, as bootstrap.mjs is.
import { appendFileSync, mkdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

/** A lock older than this was left by a machine that crashed: no installation takes as long. */
const EXPIRES_MS = 15 * 60_000

/**
 * The lock is a directory, because creating one is atomic everywhere. The pids in it show when it is stale: npm's pid,
 * too, because npm may still run when the process that started it was killed.
 * @param {{ directory: string, onWait: () => void, expiresMs?: number }} options `onWait` is called once, when another
 *   process has the lock
 */
export async function lock({ directory, onWait, expiresMs = EXPIRES_MS }) {
  mkdirSync(dirname(directory), { recursive: true })
  for (let waited = false; ; ) {
    try {
      mkdirSync(directory)
      const addHolder = (pid) => appendFileSync(join(directory, 'pids'), `${pid}\n`)
      addHolder(process.pid)
      return { addHolder, unlock: () => rmSync(directory, { recursive: true, force: true }) }
    } catch (error) {
      if (error.code !== 'EEXIST') throw error
    }
    if (isAbandoned(directory, expiresMs)) {
      rmSync(directory, { recursive: true, force: true })
      continue
    }
    if (!waited) onWait()
    waited = true
    await sleep(200)
  }
}

function isAbandoned(directory, expiresMs) {
  try {
    if (Date.now() - statSync(directory).mtimeMs > expiresMs) return true
    const pids = readFileSync(join(directory, 'pids'), 'utf8').trim().split('\n')
    return pids.every((pid) => pid !== '' && !isAlive(Number(pid)))
  } catch (error) {
    if (error.code !== 'ENOENT') throw error
    // Released, or created just now and still empty.
    return false
  }
}

function isAlive(pid) {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    // EPERM: alive, and of another user.
    return error.code !== 'ESRCH'
  }
}
