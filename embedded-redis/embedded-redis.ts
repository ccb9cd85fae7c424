import { once } from 'node:events'
import { createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { keepPassword, makePrivateFolder } from '../lib/private-folder.ts'
import { refuseFolder } from '../lib/system-refusal.ts'
import { findRedisServer } from './find-redis.ts'
import { claimFolder, type FolderClaim } from './folder-claim.ts'
import { launchRedisServer, type RunningServer } from './launch-redis-server.ts'

export type EmbeddedRedisOptions = {
  /** Its data folder, made when missing and closed to other users. One process at a time may have it. */
  directory: string
  /** Gets a line when something is installed, and when the server fails or warns. */
  log?: (line: string) => void
  /** As in redis.conf, `512mb`; no limit by default. */
  maxmemory?: string
  /** True: nothing is answered before it is on disk. By default the disk is written every second. */
  durable?: boolean
  /** A fixed port; by default a free one. */
  port?: number
  /** False: anybody who reaches the port is served. For nodes of a cluster and replicas, which would have to know one another's password. */
  hasPassword?: boolean
  /** Further arguments, which win over those given here: `['--appendonly', 'no']`. */
  extraArgs?: string[]
}

export type EmbeddedRedis = {
  /** With its password. */
  url: string
  port: number
  /** The server's process; another one after a crash. */
  readonly pid: number
  /** Ends the server once its log is written, and releases the folder. */
  close(): Promise<void>
}

/** Another process can take a free port before Redis does. */
const PORT_ATTEMPTS = 5
const RESTART_DELAY_MS = { first: 100, most: 5_000 }

/**
 * Starts a Redis of this process's own on 127.0.0.1, installing one when the machine has none: closed to other users of the
 * machine (a password in a file of its folder, which is this user's alone), durable (append-only
 * file, fsync every second or always), never evicting, started again on its port when it crashes, and gone when this process
 * is, even after SIGKILL. It does not keep the process alive. Resolves when it answers PING, its data loaded.
 */
export async function startEmbeddedRedis(options: EmbeddedRedisOptions): Promise<EmbeddedRedis> {
  const { log = () => {} } = options
  const server = await findRedisServer({ log })
  const refuse = (error: unknown): never => {
    const remedy = 'Make it writable for this user, start from another folder, or name a Redis in redis.url.'
    throw refuseFolder(error, 'the data folder', options.directory, remedy)
  }
  const directory = await makePrivateFolder(options.directory).catch(refuse)
  const claim = await claimFolder(directory).catch(refuse)
  const { password, file } =
    options.hasPassword === false
      ? { password: null, file: null }
      : await keepPassword(directory).catch(async (error: unknown) => {
          await claim.release()
          return refuse(error)
        })
  const launch = async (port: number): Promise<RunningServer> => {
    const running = await launchRedisServer({
      server,
      args: [...(file === null ? [] : [file]), ...buildArguments({ ...options, directory, port })],
      port,
      password,
      log,
    })
    await claim.setServer(running.pid)
    return running
  }
  try {
    const { port, running } = await launchOnFreePort(launch, options.port)
    return superviseServer({ port, password, running, launch, claim, log })
  } catch (error) {
    await claim.release()
    throw error
  }
}

function buildArguments(options: EmbeddedRedisOptions & { port: number }): string[] {
  return [
    ...['--port', String(options.port), '--bind', '127.0.0.1', '--dir', options.directory],
    ...['--appendonly', 'yes', '--appendfsync', options.durable ? 'always' : 'everysec', '--save', ''],
    // Records in one piece each, also those with a request of some KB: see docs/operating.md.
    ...['--hash-max-listpack-value', '4096'],
    ...['--maxmemory-policy', 'noeviction', '--maxmemory', options.maxmemory ?? '0'],
    ...(options.extraArgs ?? []),
  ]
}

async function launchOnFreePort(
  launch: (port: number) => Promise<RunningServer>,
  fixed: number | undefined,
): Promise<{ port: number; running: RunningServer }> {
  for (let attempt = 1; ; attempt++) {
    const port = fixed ?? (await findFreePort())
    try {
      return { port, running: await launch(port) }
    } catch (error) {
      const taken = error instanceof Error && error.message.includes('already in use')
      if (!taken || fixed !== undefined || attempt === PORT_ATTEMPTS) throw error
    }
  }
}

async function findFreePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const address = probe.address()
  probe.close()
  await once(probe, 'close')
  if (address === null || typeof address === 'string') throw new Error('no free port')
  return address.port
}

function superviseServer(options: {
  port: number
  password: string | null
  running: RunningServer
  launch: (port: number) => Promise<RunningServer>
  claim: FolderClaim
  log: (line: string) => void
}): EmbeddedRedis {
  const { port, password, launch, claim, log } = options
  const closing = new AbortController()
  let running = options.running

  const supervise = async () => {
    while (!closing.signal.aborted) {
      const how = await running.ended
      if (closing.signal.aborted) return
      log(`the embedded Redis (process ${running.pid}) is gone, ${how}; starting it again on port ${port}`)
      running = await restart()
    }
  }
  const restart = async () => {
    for (let delay = RESTART_DELAY_MS.first; ; delay = Math.min(delay * 2, RESTART_DELAY_MS.most)) {
      await sleep(delay, undefined, { signal: closing.signal, ref: false })
      try {
        return await launch(port)
      } catch (error) {
        log(error instanceof Error ? error.message : String(error))
      }
    }
  }
  const supervising = supervise().catch((error: unknown) => {
    if (!closing.signal.aborted) throw error
  })

  const close = async () => {
    closing.abort()
    await running.stop()
    await supervising
    // The server that was being restarted meanwhile.
    await running.stop()
    await claim.release()
  }
  let closed: Promise<void> | undefined

  return {
    url: `redis://${password === null ? '' : `:${password}@`}127.0.0.1:${port}`,
    port,
    get pid() {
      return running.pid
    },
    close() {
      closed ??= close()
      return closed
    },
  }
}
