import { execFile } from 'node:child_process'
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { promisify } from 'node:util'
import pg from 'pg'
import { startTestPostgres } from '../helpers/postgres.ts'
import { startSlowRelay } from './slow-relay.ts'

/** A database of ended jobs that can be broken in one way. */
export type BreakableDatabase = {
  url: string
  /** Breaks it. Resolves to the function that repairs it. */
  strike(): Promise<() => Promise<unknown>>
  close(): Promise<unknown>
}

const run = promisify(execFile)
/** Of a disk that can be filled. */
const DISK_MIB = 48

/** PostgreSQL on a free port; `strike` gets its server. */
export async function openPostgres(
  strike: (server: Awaited<ReturnType<typeof startTestPostgres>>) => Promise<() => Promise<unknown>>,
): Promise<BreakableDatabase> {
  const server = await startTestPostgres()
  const url = await server.database('history')
  return { url, strike: () => strike(server), close: () => server.close() }
}

/** PostgreSQL behind a connection on which everything takes so long, once it is struck. */
export async function openSlowPostgres(delayMs: number): Promise<BreakableDatabase> {
  const server = await startTestPostgres()
  const url = new URL(await server.database('history'))
  const relay = await startSlowRelay(Number(url.port))
  url.port = String(relay.port)
  return {
    url: url.href,
    async strike() {
      relay.slowTo(delayMs)
      return async () => relay.slowTo(0)
    },
    async close() {
      await relay.close()
      await server.close()
    },
  }
}

/** PostgreSQL with its tables on a small disk of their own, which is filled. Null: this user may not mount one. */
export async function openFullPostgres(): Promise<BreakableDatabase | null> {
  const disk = await mountDisk()
  if (disk === null) return null
  const server = await startTestPostgres()
  // The user that runs the server has to write there.
  await chmod(disk.folder, 0o777)
  const data = join(disk.folder, 'data')
  const { stdout } = await run('ps', ['-o', 'uid=', '-p', String(server.pid)])
  await run('install', ['-d', '-m', '700', '-o', stdout.trim(), data])
  const client = new pg.Client({ connectionString: `${server.url}/postgres` })
  await client.connect()
  await client.query(`create tablespace small location '${data}'`)
  await client.query('create database history tablespace small')
  await client.end()
  return {
    url: `${server.url}/history`,
    strike: disk.fill,
    async close() {
      await server.close()
      await disk.close()
    },
  }
}

/** SQLite on a small disk of its own, which is filled. Null: this user may not mount one. */
export async function openFullSqlite(): Promise<BreakableDatabase | null> {
  const disk = await mountDisk()
  return disk && { url: `sqlite:${join(disk.folder, 'history.db')}`, strike: disk.fill, close: disk.close }
}

/** SQLite that another program has locked. */
export async function openLockedSqlite(): Promise<BreakableDatabase> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-history-'))
  const path = join(folder, 'history.db')
  return {
    url: `sqlite:${path}`,
    async strike() {
      const other = new DatabaseSync(path, { timeout: 5000 })
      other.exec('begin exclusive')
      return async () => other.close()
    },
    close: () => rm(folder, { recursive: true, force: true }),
  }
}

async function mountDisk() {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-disk-'))
  try {
    await run('mount', ['-t', 'tmpfs', '-o', `size=${DISK_MIB}m`, 'tmpfs', folder])
  } catch {
    await rm(folder, { recursive: true, force: true })
    return null
  }
  const ballast = join(folder, 'ballast')
  return {
    folder,
    async fill() {
      try {
        await writeFile(ballast, Buffer.alloc(DISK_MIB * 1024 * 1024))
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
      }
      return () => rm(ballast)
    },
    async close() {
      // Processes that write there may not have ended yet.
      await run('umount', ['-l', folder])
      await rm(folder, { recursive: true, force: true })
    },
  }
}
