import { createHash, type Hash } from 'node:crypto'
import { estimateSeconds, HEAD_BYTES } from '../lib/audio-length.ts'
import type { FileRecord, Files } from './files.ts'

/** Facts about a file's bytes, known without reading them again. */
export type FileFacts = {
  /** SHA-256, hex. */
  digest: string
  /** The duration of audio, if it is audio. */
  seconds: number
}

/** Describes files by their content: equal files have equal digests, even under different names. */
export type FileContents = {
  /** Null: there is no such file. A process reads a file once, because files do not change. */
  describe(tenant: string, id: string): Promise<FileFacts | null>
  /** Passes an upload through and describes it. `keep` stores the facts for the file that it becomes. */
  watch(content: AsyncIterable<Uint8Array>): {
    content: AsyncIterable<Uint8Array>
    keep(file: FileRecord): void
  }
}

/** Files whose facts a process keeps, about 200 bytes each. */
const MAX_KNOWN = 20_000

/** Files read at the same time. */
const AT_ONCE = 8

export function createFileContents({ files }: { files: Pick<Files, 'get' | 'read'> }): FileContents {
  const known = new Map<string, Promise<FileFacts>>()
  const keyOf = (tenant: string, id: string) => `${id} ${tenant}`

  function keep(key: string, facts: Promise<FileFacts>): Promise<FileFacts> {
    known.set(key, facts)
    for (const oldest of known.keys()) {
      if (known.size <= MAX_KNOWN) break
      known.delete(oldest)
    }
    return facts
  }

  const waiting: (() => void)[] = []
  let reading = 0

  /** Reads a few files at a time, so that memory stays flat when a thousand jobs name a thousand files. */
  async function read(tenant: string, id: string): Promise<FileFacts> {
    if (reading >= AT_ONCE) await new Promise<void>((resolve) => waiting.push(resolve))
    else reading++
    try {
      return await readNow(tenant, id)
    } finally {
      const next = waiting.shift()
      if (next) next()
      else reading--
    }
  }

  async function readNow(tenant: string, id: string): Promise<FileFacts> {
    const content = await files.read(tenant, id)
    if (content === null) throw new Error('the file was removed while it was read')
    const watcher = createWatcher()
    for await (const part of content) watcher.push(part)
    return watcher.end()
  }

  return {
    async describe(tenant, id) {
      if ((await files.get(tenant, id)) === null) return null
      const key = keyOf(tenant, id)
      const facts = known.get(key) ?? keep(key, read(tenant, id))
      return facts.catch((error) => {
        known.delete(key)
        throw error
      })
    },
    watch(content) {
      const watcher = createWatcher()
      async function* pass() {
        for await (const part of content) {
          watcher.push(part)
          yield part
        }
      }
      return {
        content: pass(),
        keep({ tenant, id }) {
          keep(keyOf(tenant, id), Promise.resolve(watcher.end()))
        },
      }
    },
  }
}

function createWatcher() {
  const hash: Hash = createHash('sha256')
  let head = Buffer.alloc(0)
  let bytes = 0
  return {
    push(part: Uint8Array): void {
      hash.update(part)
      bytes += part.length
      if (head.length < HEAD_BYTES)
        head = Buffer.concat([head, Buffer.from(part.subarray(0, HEAD_BYTES - head.length))])
    },
    end: (): FileFacts => ({ digest: hash.digest('hex'), seconds: estimateSeconds(head, bytes) }),
  }
}
