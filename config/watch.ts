import { type FSWatcher, readFileSync, realpathSync, watch } from 'node:fs'
import { dirname } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import type { Environment } from './environment.ts'
import { type LoadOptions, loadConfig } from './load.ts'
import { isLoopback } from './loopback.ts'
import type { Config } from './schema.ts'

export type WatchOptions = {
  path: string
  env: Environment
  onChange(config: Config): void
  /** Receives a `ConfigError` for an invalid file, or an error of watching. */
  onFault(error: unknown): void
  /** Reads the file, and may check more before the content is used. */
  load?: (options: LoadOptions) => Config | Promise<Config>
  /** How long the file must stay unchanged before it is read, in ms. */
  debounceMs?: number
}

/**
 * Calls `onChange` with each new valid configuration, and `onFault` for each invalid one. It watches the file's directory, because editors
 * and Kubernetes replace the file (or symlink). It also watches the file itself, because a file mounted alone into a container changes
 * without its directory.
 */
export function watchConfig(options: WatchOptions): { close(): void } {
  const { path, env, onChange, onFault, load = loadConfig, debounceMs = 100 } = options
  let watchers: FSWatcher[] = []
  let timer: NodeJS.Timeout | undefined
  let isClosed = false
  watchers = openWatchers()
  let seen = readContent(path)
  return {
    close() {
      isClosed = true
      clearTimeout(timer)
      closeWatchers()
    },
  }

  function schedule(): void {
    clearTimeout(timer)
    timer = setTimeout(check, debounceMs)
    timer.unref()
  }

  function check(): void {
    // Reopened before the file is read: the target of a symlink may have changed, and no later change may be missed.
    closeWatchers()
    watchers = openWatchers()
    const content = readContent(path)
    if (content === seen) return
    seen = content
    void take(content)
  }

  async function take(content: string | null): Promise<void> {
    let config: Config
    try {
      config = await load(content === null ? { path, env } : { path, env, text: content })
    } catch (error) {
      onFault(error)
      return
    }
    // Unless it has changed again, or the watch was closed.
    if (content === seen && !isClosed) onChange(config)
  }

  function openWatchers(): FSWatcher[] {
    const real = resolveLink(path)
    const targets = new Set([dirname(path), ...(real === null ? [] : [dirname(real), real])])
    return [...targets].flatMap((target) => {
      try {
        return [watch(target, schedule).on('error', onFault)]
      } catch (error) {
        // The file may disappear between two checks; its directory reports when it is back.
        if (target === dirname(path)) onFault(error)
        return []
      }
    })
  }

  function closeWatchers(): void {
    for (const watcher of watchers) watcher.close()
    watchers = []
  }
}

/** The current configuration of a process, replaced as a whole. */
export type LiveConfig = {
  /** Its tenants are those of the file, then those that were created at run time. */
  current(): Config
  /** The configuration of the file. */
  configured(): Config
  /** Adds tenants to those of the file and replaces earlier added ones. A tenant with a name from the file is ignored. */
  addTenants(tenants: Config['tenants']): void
  /** Applies the settings that can change in a running process. Returns the changed members that it did not apply. */
  replace(next: Config): string[]
  /** Calls `listener` after each replacement, until the returned function is called. */
  subscribe(listener: (config: Config) => void): () => void
}

export function createLiveConfig(initial: Config): LiveConfig {
  let config = initial
  let added: Config['tenants'] = {}
  let merged = initial
  const listeners = new Set<(config: Config) => void>()

  function publish(): void {
    // Without tenants in the file every key is accepted; added tenants would lock out the one who created them.
    const isOpen = Object.keys(config.tenants).length === 0
    merged = isOpen ? config : { ...config, tenants: { ...added, ...config.tenants } }
    for (const listener of [...listeners]) listener(merged)
  }

  return {
    current: () => merged,
    configured: () => config,
    addTenants(tenants) {
      if (isDeepStrictEqual(tenants, added)) return
      added = tenants
      publish()
    },
    replace(next) {
      const ignored = [
        ...listChanges('server', config.server, next.server),
        ...listChanges('redis', config.redis, next.redis),
        ...listChanges('worker', config.worker, next.worker),
        ...listChanges('files', storesOf(config), storesOf(next)),
        ...listChanges('network', config.network, next.network),
        ...listChanges('tracing', config.tracing, next.tracing),
      ]
      // The host stays, so a file that goes back to loopback without tenants must not open the running service.
      const opens = !isLoopback(config.server.host) && Object.keys(next.tenants).length === 0
      if (opens) ignored.push('tenants')
      const tenants = opens ? config.tenants : next.tenants
      // Stored content could no longer be decrypted, and new content would be stored in plain text.
      const decrypts = config.encryption.keys.length > 0 && next.encryption.keys.length === 0
      if (decrypts) ignored.push('encryption.keys')
      const encryption = decrypts ? config.encryption : next.encryption
      config = {
        ...next,
        server: config.server,
        redis: config.redis,
        worker: config.worker,
        files: { ...next.files, ...storesOf(config) },
        network: config.network,
        tracing: config.tracing,
        tenants,
        encryption,
      }
      publish()
      return ignored
    },
    subscribe(listener) {
      listeners.add(listener)
      return () => {
        listeners.delete(listener)
      }
    },
  }
}

/** The locations of files, which do not change. */
function storesOf({ files: { store, folder, s3 } }: Config) {
  return { store, folder, s3 }
}

function listChanges(section: string, before: object, after: object): string[] {
  const old = new Map<string, unknown>(Object.entries(before))
  const fresh = new Map<string, unknown>(Object.entries(after))
  const members = new Set([...old.keys(), ...fresh.keys()])
  return [...members]
    .filter((member) => !isDeepStrictEqual(old.get(member), fresh.get(member)))
    .map((member) => `${section}.${member}`)
}

function readContent(path: string): string | null {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return null
  }
}

function resolveLink(path: string): string | null {
  try {
    return realpathSync(path)
  } catch {
    return null
  }
}
