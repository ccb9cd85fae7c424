/** A stored file; api/ converts it to OpenAI's shape. */
export type FileRecord = {
  /** `file-…` */
  id: string
  tenant: string
  filename: string
  /** Its purpose: `batch` for uploads, `batch_output` for results. */
  purpose: string
  bytes: number
  /** Unix ms. */
  createdAt: number
  /** Unix ms; null: kept until it is deleted. */
  expiresAt: number | null
}

/** A file's properties besides its content. */
export type NewFile = Pick<FileRecord, 'filename' | 'purpose' | 'expiresAt'>

/** The tenant's files together would exceed its storage limit. */
export class StorageFullError extends Error {
  override readonly name = 'StorageFullError'
  readonly maxBytes: number

  constructor(maxBytes: number) {
    super(`the files of a tenant may have ${maxBytes} bytes together`)
    this.maxBytes = maxBytes
  }
}

export type FilePage = { files: FileRecord[]; hasMore: boolean }

/**
 * Files of tenants, in parts of up to 1 MiB: neither a writer nor a reader ever holds a whole file. They are stored in Redis, or in a store
 * outside of it; if that cannot be used, writing and reading throw `FileStoreError`. An id of another tenant is treated like a missing one:
 * null or false.
 */
export type Files = {
  /**
   * Stores an upload while it streams in. When the stream fails, the written parts are removed and the error is rethrown. The file's
   * properties may be a function: it is called after the content, with the creation time, Unix ms. Throws `StorageFullError`. Files that
   * are sealed part by part count towards the limit, but are never refused.
   */
  create(
    tenant: string,
    file: NewFile | ((createdAt: number) => NewFile),
    content: AsyncIterable<Uint8Array>,
  ): Promise<FileRecord>
  /** Makes the id for a file that is stored later. */
  newId(): string
  /**
   * Writes one part (from 0) of a file that is not sealed yet; the same number replaces it. Unsealed parts expire after a week, or after
   * `ttlMs`. A sealed file does not change.
   */
  writePart(tenant: string, id: string, part: number, content: Uint8Array, ttlMs?: number): Promise<void>
  /** One part of a file that is not sealed yet; null: it does not exist. */
  readPart(tenant: string, id: string, part: number): Promise<Uint8Array | null>
  /** Deletes the parts of a file that will not be sealed. */
  discard(tenant: string, id: string): Promise<void>
  /**
   * Makes a file from the first `parts` parts; parts never written are empty. Called again, it returns the same file. If the store outside
   * of Redis cannot be used, up to 32 MiB stay in Redis; larger files throw `FileStoreError` and keep their parts for the next try.
   */
  seal(tenant: string, id: string, file: NewFile, parts: number): Promise<FileRecord>
  /**
   * Stores bytes in one step. Called again, it returns the same file. If the store outside of Redis cannot be used, up to 32 MiB go into
   * Redis; larger files throw `FileStoreError`.
   */
  put(tenant: string, id: string, file: NewFile, content: Uint8Array): Promise<FileRecord>
  get(tenant: string, id: string): Promise<FileRecord | null>
  /** Newest first or oldest first. `after` is the last id of the previous page. */
  list(
    tenant: string,
    query: { limit: number; after: string | null; purpose: string | null; order: 'asc' | 'desc' },
  ): Promise<FilePage>
  /** The content, part by part, from byte `from` on; null: there is no such file. */
  read(tenant: string, id: string, from?: number): Promise<AsyncIterable<Uint8Array> | null>
  /** False: there was no such file. */
  remove(tenant: string, id: string): Promise<boolean>
  /** Deletes all expired files, and what has to be deleted outside of Redis. Returns how many had expired. For the sweeper. */
  sweep(tenant: string): Promise<number>
  /** Deletes objects outside of Redis that belong to nothing in it. Returns how many. For the sweeper, once a day. */
  sweepOrphans(signal: AbortSignal): Promise<number>
}
